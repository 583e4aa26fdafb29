"""Orders and their fills. An order row is the job: no other record of it is needed."""

from __future__ import annotations

from decimal import Decimal
from typing import Self

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q

from brokers.types import MAX_FILL_ID_LENGTH
from common import units
from common.db.functions import ClockTimestamp
from common.fields import AmountField, ChoiceField
from common.money import to_stored
from connections.models import ExecutionConnection
from execution.models.status import (
    ALL_PENDING,
    AT_BROKER,
    IN_FLIGHT,
    PARTLY_KNOWN,
    UNSENT,
    PendingAction,
    RouteState,
    Status,
)
from positions.models import ExecutionPosition
from signals.models import OrderType, Signal, TimeInForce

_OF_FAILED_ROUTE = {"route_state": RouteState.HERE, "status": Status.FAILED}
MAY_MOVE = Q(**_OF_FAILED_ROUTE)
"""Entries that have failed, and may still move to the next account of their route: of one loaded
order `Order.may_move`, in SQL `may_move_sql`."""


def may_move_sql(order: str) -> str:
    """Return MAY_MOVE as SQL. order: the alias of the row."""
    tests = (f"{order}.{name} = '{value.value}'" for name, value in _OF_FAILED_ROUTE.items())
    return f"({' AND '.join(tests)})"


class OrderQuerySet(models.QuerySet["Order"]):
    """Orders by leg and status."""

    def entries(self) -> Self:
        """Orders that open a position."""
        return self.filter(leg__startswith="entry")

    def exits(self) -> Self:
        """Orders that close a position or a part of it."""
        return self.exclude(leg__startswith="entry")


class Order(models.Model):
    """One row for one leg. quantity: base units; prices: quote currency of the pair.

    Times of steps are machine time. `due_at`: when the row may be processed. `enqueued_at`: when a
    Celery message for it was last sent. `answer_by`: until then the process that sent the order may
    still report the result of the call, so an absence does not count.
    """

    signal = models.ForeignKey(
        Signal, models.PROTECT, null=True, blank=True, related_name="orders", db_index=False
    )
    connection = models.ForeignKey(
        ExecutionConnection, models.PROTECT, related_name="orders", db_index=False
    )
    position = models.ForeignKey(
        ExecutionPosition,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="exits",
        db_index=False,
    )
    leg = models.CharField(max_length=16)
    position_leg = models.CharField(
        max_length=16, default="entry", db_default="entry",
        help_text="Of an entry: the leg whose position it fills. Its own if it is a slice on a"
        " hedging account.",
    )  # fmt: skip
    priority = models.SmallIntegerField(
        default=5,
        db_default=5,
        help_text="The lowest first: 1 exits, 2 by hand, 4 to 6 the class of the subscription.",
    )
    client_order_id = models.CharField(max_length=18, null=True)  # NULL: none yet
    broker_order_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    pair = models.CharField(max_length=20)
    symbol = models.CharField(max_length=40, blank=True, default="", db_default="")
    side = models.CharField(max_length=4)
    order_type = ChoiceField(max_length=16, choices=OrderType)
    time_in_force = ChoiceField(max_length=3, choices=TimeInForce)
    quantity = AmountField(null=True)
    unrounded_quantity = AmountField(
        null=True, help_text="An entry's, before the broker's step, minimum and maximum."
    )
    requested_quantity = AmountField(
        null=True, help_text="What a person wants it to be, instead of the preset's size."
    )
    own_stop_loss = AmountField(
        null=True, help_text="Changed for this entry alone; NULL: the signal's stop counts."
    )
    own_take_profit = AmountField(
        null=True, help_text="Changed for this entry alone, the first target; NULL: the signal's."
    )
    own_valid_until = models.DateTimeField(
        null=True, help_text="When it ends, market time, if changed; NULL: its signal's end counts."
    )
    expires_at = models.DateTimeField(
        null=True, help_text="GTD: the expiry that its broker was given with it."
    )
    close_fraction = AmountField(
        null=True, help_text="An entry's: of what it fills, the part that CLOSE signals close."
    )
    close_offset = AmountField(
        null=True, help_text="What of that part is closed already, or was not to be; base units."
    )
    limit_price = AmountField(null=True)
    stop_price = AmountField(
        null=True, help_text="Of a trailing stop at its broker the first one; it moves there."
    )
    trail_distance = AmountField(
        null=True, help_text="How far a trailing stop follows that its broker holds."
    )
    stop_loss = AmountField(null=True)
    take_profit = AmountField(null=True)
    expected_price = AmountField(null=True)
    worst_price = AmountField(null=True, help_text="Limit for the fill price of a market entry.")
    pip = AmountField(null=True)
    conversion_rate = AmountField(null=True)
    margin = AmountField(null=True, help_text="Estimated, account currency.")
    risk = AmountField(null=True, help_text="Lost if the stop is hit, account currency.")
    filled_quantity = AmountField(default=Decimal(0), db_default=Decimal(0))
    inferred_quantity = AmountField(
        default=Decimal(0),
        db_default=Decimal(0),
        help_text="The part of the filled quantity without fill ids: cumulative or inferred.",
    )
    avg_fill_price = AmountField(null=True)
    commission = AmountField(
        default=Decimal(0), db_default=Decimal(0),
        help_text="Account currency, without the fees that have no rate.",
    )  # fmt: skip
    unconverted_fees = models.JSONField(
        default=dict, db_default={}, blank=True,
        help_text="Fees without a conversion rate, by currency; part of no total.",
    )  # fmt: skip
    slippage_pips = AmountField(
        "slippage", null=True, help_text="Signed, + is worse; in the slippage unit."
    )
    slippage_unit = ChoiceField(
        max_length=7, choices=units.CHOICES, default="PIPS", db_default="PIPS"
    )
    status = ChoiceField(
        max_length=16, choices=Status, default=Status.PENDING, db_default=Status.PENDING
    )
    reason = models.CharField(max_length=64, blank=True, default="", db_default="")
    detail = models.CharField(max_length=300, blank=True, default="", db_default="")
    pending_action = ChoiceField(
        max_length=6, choices=PendingAction, blank=True, default="", db_default=""
    )
    pending_action_attempts = models.SmallIntegerField(
        default=0, db_default=0
    )  # requests to the broker
    pending_action_since = models.DateTimeField(
        null=True, help_text="Since when it waits for its cancellation at the broker."
    )
    attempt = models.SmallIntegerField(default=0, db_default=0)
    send_retries = models.SmallIntegerField(default=0, db_default=0)
    fence = models.BigIntegerField(default=0, db_default=0)
    worker_id = models.CharField(max_length=80, blank=True, default="", db_default="")
    answer_by = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    waiting_since = models.DateTimeField(
        null=True, help_text="Since when it waits, for the cause in `reason`; PENDING only."
    )
    retried_at = models.DateTimeField(
        null=True,
        help_text="Market time from which its age counts: of its trigger, or of a manual retry.",
    )
    lookup_after = models.DateTimeField(null=True)
    lookup_claimed_until = models.DateTimeField(
        null=True, help_text="Until then only one process looks it up."
    )
    absence_confirmations = models.SmallIntegerField(default=0, db_default=0)
    routed_from = models.ForeignKey(
        ExecutionConnection, models.PROTECT, null=True, blank=True, related_name="+",
        db_index=False, help_text="The connection that subscribes, of a routed entry.",
    )  # fmt: skip
    route_state = ChoiceField(
        max_length=5, choices=RouteState, blank=True, default="", db_default=""
    )
    aggregate_id = models.BigIntegerField(
        null=True, blank=True, editable=False,
        help_text="The first of the orders that it was sent with as one; the broker knows that"
        " one's client order id.",
    )  # fmt: skip
    awaits_condition = models.BooleanField(
        default=False, db_default=False,
        help_text="Its signal names a time or another signal, and that condition does not hold.",
    )  # fmt: skip
    has_exit_condition = models.BooleanField(
        default=False, db_default=False,
        help_text="Of an entry: its signal names another one whose state ends it.",
    )  # fmt: skip
    oco_group = models.UUIDField(
        null=True, blank=True, help_text="Its signal's: of an account's legs one is ever sent."
    )
    oco_fired = models.BooleanField(
        default=False, db_default=False, help_text="It is the leg whose trigger has fired."
    )
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    enqueued_at = models.DateTimeField(null=True)
    validated_at = models.DateTimeField(null=True)
    submitted_at = models.DateTimeField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    filled_at = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)

    objects = OrderQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=["signal", "connection", "leg"],
                condition=Q(leg__startswith="entry"),
                name="one_entry",
            ),
            # Of a subscription one row at a time counts. The others are MOVED, and those cannot be
            # sent again.
            models.UniqueConstraint(
                fields=["signal", "routed_from", "leg"],
                condition=Q(route_state__in=("OPEN", "HERE", "LAST")),
                name="one_routed_entry",
            ),
            models.CheckConstraint(
                condition=~Q(route_state="MOVED") | ~Q(status__in=(Status.PENDING, *IN_FLIGHT)),
                name="moved_is_unsent",
            ),
            models.CheckConstraint(
                condition=Q(route_state="", routed_from__isnull=True)
                | Q(route_state__gt="", routed_from__isnull=False, leg__startswith="entry"),
                name="routed_entry_has_origin",
            ),
            # Of an OCO pair only the leg that fired is sent, and of an account one fires.
            models.UniqueConstraint(
                fields=["connection", "oco_group"],
                condition=Q(oco_fired=True),
                name="one_oco_leg_fires",
            ),
            models.CheckConstraint(
                condition=Q(oco_group__isnull=True, oco_fired=False)
                | Q(oco_group__isnull=False, leg="entry")
                & (Q(oco_fired=True) | Q(status__in=UNSENT)),
                name="sent_oco_leg_has_fired",
            ),
            # Not by `unique=True`, which would keep a second index for LIKE up to date.
            models.UniqueConstraint(fields=["client_order_id"], name="one_client_order_id"),
            models.UniqueConstraint(
                fields=["position", "leg"], condition=Q(position__isnull=False), name="one_exit"
            ),
            models.CheckConstraint(
                condition=Q(leg__startswith="entry", signal__isnull=False, position__isnull=True)
                | (~Q(leg__startswith="entry") & Q(position__isnull=False)),
                name="entry_has_signal_exit_position",
            ),
            models.CheckConstraint(
                condition=Q(position_leg="entry") | Q(position_leg=F("leg")),
                name="fills_position_of_its_leg",
            ),
            models.CheckConstraint(  # isnull, since NULL > 0 would pass
                condition=Q(status__in=UNSENT) | Q(quantity__isnull=False, quantity__gt=0),
                name="sent_is_sized",
            ),
            models.CheckConstraint(
                condition=Q(filled_quantity=0)
                | Q(quantity__isnull=False, filled_quantity__lte=F("quantity")),
                name="filled_within_quantity",
            ),
        ]
        indexes = [
            # PENDING is left out of `order_with_broker`: a backlog must not slow each claim.
            models.Index(
                fields=["connection"],
                name="order_with_broker",
                condition=Q(status__in=(*IN_FLIGHT, *AT_BROKER)),
            ),
            models.Index(fields=["due_at"], name="order_pending", condition=ALL_PENDING),
            models.Index(  # those that were deferred, and of what was just published none
                fields=["connection"],
                name="order_waiting",
                condition=~Q(reason="") & Q(status=Status.PENDING),
            ),
            models.Index(  # `order_with_broker` has all that rest at brokers, too
                fields=["answer_by"], name="order_in_flight", condition=Q(status__in=IN_FLIGHT)
            ),
            models.Index(
                fields=["due_at"], name="order_pending_action", condition=~Q(pending_action="")
            ),
            models.Index(
                fields=["lookup_after"],
                name="order_lookup",
                condition=Q(lookup_after__isnull=False),
            ),
            models.Index(  # see `is_partly_known_sql`
                fields=["connection"],
                name="order_partly_known",
                condition=PARTLY_KNOWN,
            ),
            models.Index(fields=["connection", "-id"], name="order_of_connection"),
            models.Index(  # what an account has sent, for limits that count it
                fields=["connection", "submitted_at"],
                name="order_sent",
                condition=Q(leg__startswith="entry", submitted_at__isnull=False),
            ),
            models.Index(
                fields=["oco_group", "connection"],
                name="order_oco",
                condition=Q(oco_group__isnull=False),
            ),
            models.Index(
                fields=["aggregate_id"],
                name="order_aggregate",
                condition=Q(aggregate_id__isnull=False),
            ),
            models.Index(
                fields=["id"],
                name="order_condition",
                condition=Q(awaits_condition=True, status=Status.PENDING),
            ),
            models.Index(
                fields=["id"],
                name="order_exit_condition",
                condition=Q(has_exit_condition=True, done_at__isnull=True),
            ),
            models.Index(  # a GTD order whose broker will end it earlier
                fields=["id"],
                name="order_prolonged",
                condition=Q(own_valid_until__gt=F("expires_at"), done_at__isnull=True),
            ),
            models.Index(  # entries of which a part is closed once they have filled
                fields=["id"],
                name="order_close_fraction",
                condition=Q(close_fraction__isnull=False, filled_quantity__gt=0),
            ),
            models.Index(  # entries that may be sent to the next account
                fields=["done_at"],
                name="order_route_failed",
                condition=MAY_MOVE,
            ),
            models.Index(
                fields=["position"], name="order_inferred", condition=Q(inferred_quantity__gt=0)
            ),
            BrinIndex(fields=["created_at"], name="order_created_at"),  # rows come in its order
        ]

    def __str__(self) -> str:
        return f"O-{self.pk} {self.side} {self.pair} {self.leg}"

    @property
    def ack_ms(self) -> float | None:
        """Milliseconds from creation to the broker's acknowledgement; None: not acknowledged."""
        at = self.acknowledged_at
        return (at - self.created_at).total_seconds() * 1000 if at else None

    @property
    def other_leg(self) -> Order | None:
        """The account's order of the other leg of its OCO pair; None: it is of none."""
        if self.oco_group is None:
            return None
        legs = Order.objects.filter(oco_group=self.oco_group, connection=self.connection_id)
        return legs.exclude(pk=self.pk).first()

    @property
    def sent_with(self) -> models.QuerySet[Order]:
        """The other orders that were sent as one with it."""
        if self.aggregate_id is None:
            return Order.objects.none()
        members = Order.objects.filter(aggregate_id=self.aggregate_id)
        return members.exclude(pk=self.pk).order_by("pk")

    @property
    def sent_as(self) -> str:
        """The client order id that its broker knows it by; "" before it has one."""
        if self.aggregate_id is None or self.aggregate_id == self.pk:
            return self.client_order_id or ""
        return Order.objects.get(pk=self.aggregate_id).client_order_id or ""

    @property
    def has_emulated_end(self) -> bool:
        """Whether the engine ends it at `valid_until`, because its broker has no GTD.

        False before it was sent: only then it is known what its broker is given.
        """
        is_gtd = self.is_entry and self.time_in_force == TimeInForce.GTD
        return is_gtd and self.client_order_id is not None and self.expires_at is None

    @property
    def opened_position(self) -> ExecutionPosition | None:
        """The position that it has opened; of a trade in slices the one of its own leg."""
        if not self.is_entry:
            return None
        return ExecutionPosition.objects.filter(
            connection=self.connection_id, signal=self.signal_id, entry_leg=self.position_leg
        ).first()

    @property
    def is_partly_known(self) -> bool:
        """Whether it has ended, and its broker is still asked what it executed."""
        return self.done_at is not None and self.lookup_after is not None

    @property
    def may_move(self) -> bool:
        """Whether it has failed, and may still move to the next account of its route."""
        return all(getattr(self, name) == value for name, value in _OF_FAILED_ROUTE.items())

    @property
    def is_entry(self) -> bool:
        """Whether it opens a position."""
        return self.leg.startswith("entry")

    @property
    def is_slice(self) -> bool:
        """Whether it is a later slice of an entry: `entry` is the first one, or the whole."""
        return self.leg.startswith("entry-")


class Fill(models.Model):
    """One execution. time: the broker's, market clock.

    An order has at most one inferred fill: the part of a cumulative quantity or an inferred close
    without fills that have ids. It shrinks as those arrive and is deleted with the last of them.
    """

    connection = models.ForeignKey(  # its order's, which has the constraint (docs/adr/0063)
        ExecutionConnection,
        models.PROTECT,
        related_name="fills",
        db_index=False,
        db_constraint=False,
    )
    broker_fill_id = models.CharField(max_length=MAX_FILL_ID_LENGTH)
    order = models.ForeignKey(Order, models.PROTECT, related_name="fills")
    side = models.CharField(max_length=4)
    quantity = AmountField()
    price = AmountField()
    commission = AmountField(default=Decimal(0), db_default=Decimal(0))
    commission_currency = models.CharField(max_length=10, blank=True, default="", db_default="")
    commission_rate = AmountField(
        null=True, default=Decimal(1), db_default=Decimal(1),
        help_text="Account currency for one unit of the fee's; empty: there was no quote.",
    )  # fmt: skip
    commission_rate_at = models.DateTimeField(
        null=True, help_text="Time of the quote; empty: the fee is in the account's currency."
    )
    fee_in_base = AmountField(
        default=Decimal(0), db_default=Decimal(0),
        help_text="Base units that the fee took out of the bought quantity.",
    )  # fmt: skip
    swap = AmountField(
        default=Decimal(0), db_default=Decimal(0),
        help_text="Booked with it for holding the position: account currency, below 0 if charged.",
    )  # fmt: skip
    time = models.DateTimeField()
    inferred = models.BooleanField(default=False, db_default=False)
    revision = models.SmallIntegerField(
        default=0, db_default=0, help_text="How often the broker has corrected it."
    )
    recorded_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(fields=["connection", "broker_fill_id"], name="one_fill"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="fill_quantity_gt_0"),
        ]

    def __str__(self) -> str:
        return self.broker_fill_id

    @property
    def commission_converted(self) -> Decimal | None:
        """The fee in the account's currency; None if it has no rate and is part of no total."""
        if self.commission_rate is None:
            return None if self.commission else Decimal(0)
        return to_stored(self.commission * self.commission_rate)


class VoidedFill(models.Model):
    """An execution that its broker has corrected to nothing, and that is no fill.

    It may be reported after its correction, or again: then it is not booked.
    """

    connection = models.ForeignKey(
        ExecutionConnection, models.CASCADE, related_name="+", db_index=False
    )
    broker_fill_id = models.CharField(max_length=MAX_FILL_ID_LENGTH)
    revision = models.SmallIntegerField(help_text="Of the correction to nothing.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "broker_fill_id"], name="one_void"),
        ]

    def __str__(self) -> str:
        return self.broker_fill_id
