"""Positions, each opened by a signal's entry on a connection."""

from __future__ import annotations

from decimal import Decimal
from typing import Self

from django.db import models
from django.db.models import F, Q
from django.utils.timezone import now as machine_clock

from brokers.types import Side as BrokerSide
from common.db.functions import ClockTimestamp
from common.fields import AmountField, ChoiceField
from connections.models import DataConnection, ExecutionConnection
from positions.close_reasons import CloseReason
from signals.models import AfterState, Signal, exit_condition_text


class Side(models.TextChoices):
    """Long or short, as the side of the entry."""

    BUY = "BUY"
    SELL = "SELL"


class Guardian(models.TextChoices):
    """Who executes a level. Exactly one does."""

    NONE = ""
    BROKER = "BROKER", "The broker holds it"
    ENGINE = "ENGINE", "We monitor it"


class PositionQuerySet(models.QuerySet["ExecutionPosition"]):
    """Positions by state."""

    def open(self) -> Self:
        """Positions of which a quantity is open."""
        return self.filter(quantity__gt=0)

    def closed(self) -> Self:
        """Positions that are closed completely."""
        return self.filter(closed_at__isnull=False)


OPEN = Q(quantity__gt=0)
STOP_NOT_HELD = Q(OPEN, sl__isnull=False) & (
    Q(sl_guardian="")
    | Q(sl_guardian="BROKER", broker_sl__isnull=True)
    | Q(sl_guardian="BROKER", broker_sl_quantity__lt=F("quantity"))
)
"""Open positions with a stop that has no guardian, or that the broker has not confirmed in full."""


class ExecutionPosition(models.Model):
    """A position of one signal on one connection.

    A netting account has one of them. On a hedging account each slice of an entry opens one.
    entry_leg: the leg of the entry that opened it, `entry` or a slice's.
    quantity: base units still open. Prices: quote currency. Profit: account currency.
    `opened_at` and `closed_at` are the broker's times of the fills (market clock).
    """

    # Without constraints, which lock both rows for each execution: its entry order has them, and
    # what has traded is never deleted (docs/adr/0063).
    connection = models.ForeignKey(
        ExecutionConnection,
        models.PROTECT,
        related_name="positions",
        db_index=False,
        db_constraint=False,
    )
    signal = models.ForeignKey(
        Signal, models.PROTECT, related_name="positions", db_constraint=False, db_index=False
    )
    entry_leg = models.CharField(max_length=16, default="entry", db_default="entry")
    pair = models.CharField(max_length=20)
    symbol = models.CharField(max_length=40)
    side = ChoiceField(max_length=4, choices=Side)
    quantity = AmountField()
    reserved = AmountField(default=Decimal(0), db_default=Decimal(0))
    opened_quantity = AmountField()
    entry_price = AmountField()
    sl = AmountField(null=True)
    tp = AmountField(null=True)
    tp_number = models.SmallIntegerField(default=1, db_default=1)
    sl_guardian = ChoiceField(max_length=6, choices=Guardian, blank=True, default="", db_default="")
    tp_guardian = ChoiceField(max_length=6, choices=Guardian, blank=True, default="", db_default="")
    broker_sl = AmountField(null=True)
    broker_sl_quantity = AmountField(
        null=True, help_text="How much the broker's stop covers; NULL: all of it."
    )
    broker_tp = AmountField(null=True)
    levels_reported_at = models.DateTimeField(
        null=True,
        help_text="When the broker reported which levels it holds; NULL: not since a change.",
    )
    levels_given_up = models.BooleanField(
        default=False, db_default=False,
        help_text="The broker dropped a level twice: we monitor it.",
    )  # fmt: skip
    levels_dropped_at = models.DateTimeField(
        null=True,
        help_text="When the broker last dropped a level, since a person or a signal moved one.",
    )
    level_sync_due_at = models.DateTimeField(
        null=True, help_text="When levels that the broker does not hold are sent (again)."
    )
    level_sync_attempts = models.SmallIntegerField(default=0, db_default=0)
    protection_suspended = models.BooleanField(
        default=False, db_default=False, help_text="The broker's levels are removed for an exit."
    )
    breached_level = models.CharField(
        max_length=2, blank=True, default="", db_default="",
        help_text="The broker's level that the price has passed.",
    )  # fmt: skip
    breached_since = models.DateTimeField(null=True)
    stop_moves_at = AmountField(
        null=True, help_text="The price from which its break-even or trailing rule acts."
    )
    broker_check_due_at = models.DateTimeField(
        null=True, help_text="From then on the position is read at the broker."
    )
    broker_quantity = AmountField(
        null=True, help_text="Its quantity at the broker at the last read."
    )
    broker_checked_at = models.DateTimeField(null=True, help_text="When that read began.")
    broker_quantity_is_shared = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Parts of other positions or of open entries were deducted from that quantity.",
    )
    levels_frozen_at = models.DateTimeField(
        null=True, help_text="Since when a change of its levels waits for the price to move away."
    )
    unprotected_since = models.DateTimeField(null=True)
    unprotected_reason = models.CharField(max_length=20, blank=True, default="", db_default="")
    unprotected_alerted = models.BooleanField(default=False, db_default=False)
    unprotected_seconds = models.DecimalField(
        max_digits=12, decimal_places=1, default=Decimal(0), db_default=Decimal(0),
        help_text="Total machine time without its stop, without the current period.",
    )  # fmt: skip
    broker_position_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    price_source = models.ForeignKey(
        DataConnection, models.PROTECT, null=True, db_index=False, db_constraint=False
    )
    pip = AmountField()
    conversion_rate = AmountField(help_text="Account currency for one unit of the quote currency.")
    realized_pnl = AmountField(default=Decimal(0), db_default=Decimal(0))
    commission = AmountField(
        default=Decimal(0), db_default=Decimal(0),
        help_text="Account currency, without the fees that have no rate.",
    )  # fmt: skip
    unconverted_fees = models.JSONField(
        default=dict, db_default={}, blank=True,
        help_text="Fees without a conversion rate, by currency; part of no total.",
    )  # fmt: skip
    swap = AmountField(
        default=Decimal(0), db_default=Decimal(0),
        help_text="Booked for holding it: account currency, below 0 if it was charged.",
    )  # fmt: skip
    funding = AmountField(
        default=Decimal(0), db_default=Decimal(0),
        help_text="The part of its swap that came apart from fills, as on perpetuals.",
    )  # fmt: skip
    close_reason = ChoiceField(
        max_length=14, choices=CloseReason, blank=True, default="", db_default=""
    )
    opened_at = models.DateTimeField()
    close_at = models.DateTimeField(
        null=True, help_text="Market time at which it is closed, by its signal."
    )
    close_when_signal = models.ForeignKey(
        Signal, models.PROTECT, null=True, related_name="+", db_index=False,
        help_text="It is closed once its account has done with this signal what is next.",
    )  # fmt: skip
    close_when_state = ChoiceField(
        max_length=16, choices=AfterState, blank=True, default="", db_default=""
    )
    close_when_over = models.BooleanField(
        default=False, db_default=False,
        help_text="That cannot happen any more on its account.",
    )  # fmt: skip
    closed_at = models.DateTimeField(null=True)
    last_activity_at = models.DateTimeField(
        db_default=ClockTimestamp(), help_text="Machine time of our last activity on it."
    )
    missing_since = models.DateTimeField(
        null=True, help_text="First clean read in which the broker did not have it."
    )

    objects = PositionQuerySet.as_manager()

    class Meta:
        constraints = [
            # Its index also finds all positions of a signal. One of the signal alone tempts the
            # planner to read them all for each account (docs/adr/0064).
            models.UniqueConstraint(
                fields=["signal", "connection", "entry_leg"], name="position_of_entry"
            ),
            models.CheckConstraint(
                condition=Q(reserved__gte=0) & Q(reserved__lte=F("quantity")),
                name="reserved_within_quantity",
            ),
            models.CheckConstraint(
                condition=Q(close_when_signal__isnull=True, close_when_state="")
                | Q(close_when_signal__isnull=False, close_when_state__in=AfterState.values),
                name="position_exit_condition_is_whole",
            ),
        ]
        indexes = [
            models.Index(fields=["connection", "-id"], name="position_of_account"),
            models.Index(fields=["connection"], name="position_open", condition=OPEN),
            # A key is always above 0. Only a query that states so can use these two: just after a
            # signal to many accounts the planner may believe that nothing is open, and would read
            # all of an index that is in the order of the table for each account or level.
            models.Index(
                fields=["signal"], name="position_open_by_signal", condition=OPEN & Q(signal__gt=0)
            ),
            models.Index(
                fields=["price_source", "pair"],
                name="position_open_by_source",
                condition=OPEN & Q(price_source__gt=0),
            ),
            models.Index(fields=["closed_at"], name="position_closed_at"),
            models.Index(  # an account's results over any range
                fields=["connection", "closed_at"],
                name="position_closed_of_account",
                condition=Q(closed_at__isnull=False),
            ),
            models.Index(
                fields=["close_at"],
                name="position_close_at",
                condition=OPEN & Q(close_at__isnull=False),
            ),
            models.Index(
                fields=["close_when_signal"],
                name="position_close_when",
                condition=OPEN & Q(close_when_signal__isnull=False, close_when_over=False),
            ),
            models.Index(
                fields=["connection", "broker_position_id"],
                name="position_of_ticket",
                condition=~Q(broker_position_id=""),
            ),
            models.Index(
                fields=["broker_check_due_at"],
                name="position_check_due",
                condition=Q(broker_check_due_at__isnull=False),
            ),
            models.Index(
                fields=["id"], name="position_breached", condition=Q(breached_since__isnull=False)
            ),
            models.Index(
                fields=["id"], name="position_suspended", condition=Q(protection_suspended=True)
            ),
            models.Index(fields=["id"], name="position_without_stop", condition=STOP_NOT_HELD),
            models.Index(
                fields=["id"],
                name="position_unprotected",
                condition=Q(unprotected_since__isnull=False),
            ),
            *(
                models.Index(
                    fields=["price_source", "pair", level],
                    name=f"watch_{side.lower()}_{level}",
                    condition=OPEN & Q(side=side, **{f"{level}__isnull": False}),
                )
                for level in ("sl", "tp")
                for side in ("BUY", "SELL")
            ),
            *(
                models.Index(
                    fields=["price_source", "pair", "stop_moves_at"],
                    name=f"stop_moves_{side.lower()}",
                    condition=OPEN & Q(side=side, stop_moves_at__isnull=False),
                )
                for side in ("BUY", "SELL")
            ),
        ]  # `position_level_sync` is made by SQL in the migration

    def __str__(self) -> str:
        return f"P-{self.pk} {self.side} {self.quantity.normalize():f} {self.pair}"

    @property
    def net_result(self) -> Decimal:
        """What its closed part has made: realized profit − commission + swap, as `NET_SQL`."""
        net: Decimal = self.realized_pnl - self.commission + self.swap
        return net

    @property
    def broker_side(self) -> BrokerSide:
        """The side as brokers' adapters use it."""
        return BrokerSide(self.side)

    @property
    def stop_guardian(self) -> str:
        """Who executes the stop now: the broker only once it has confirmed that it holds it."""
        return self._guardian(self.sl_guardian, self.sl, self.broker_sl)

    @property
    def target_guardian(self) -> str:
        """Who executes the target now."""
        return self._guardian(self.tp_guardian, self.tp, self.broker_tp)

    @property
    def stop_watcher(self) -> str:
        """Who executes the stop now, as text."""
        return Guardian(self.stop_guardian).label if self.stop_guardian else "none"

    @property
    def target_watcher(self) -> str:
        """Who executes the target now, as text."""
        return Guardian(self.target_guardian).label if self.target_guardian else "none"

    @property
    def is_unconfirmed(self) -> bool:
        """Whether its stop should be at the broker, which has not confirmed it."""
        is_expected = self.sl_guardian == Guardian.BROKER and self.sl is not None
        return self.is_open and is_expected and self.broker_sl is None

    def _guardian(self, assigned: str, ours: Decimal | None, theirs: Decimal | None) -> str:
        # The same condition as `positions.levels.is_confirmed_sql`.
        if assigned != Guardian.BROKER or ours is None:
            return assigned
        is_confirmed = theirs is not None and abs(ours - theirs) < self.pip
        return Guardian.BROKER if is_confirmed else Guardian.ENGINE

    @property
    def seconds_without_stop(self) -> Decimal:
        """Seconds until now, in machine time, in which it should have had a stop and had none."""
        since = self.unprotected_since
        running = (machine_clock() - since).total_seconds() if since is not None else 0
        return self.unprotected_seconds + Decimal(f"{max(running, 0):.1f}")

    @property
    def exit_condition_text(self) -> str:
        """What closes it besides levels and times, for people; empty: nothing does."""
        text = exit_condition_text(self.close_when_signal_id, self.close_when_state)
        return f"{text}, which cannot happen any more" if self.close_when_over else text

    @property
    def rule(self) -> StopRule | None:
        """Its break-even and trailing rule, if it has one."""
        return getattr(self, "stop_rule", None)

    @property
    def is_open(self) -> bool:
        """Whether any quantity is open."""
        return bool(self.quantity > 0)


from positions.rule_model import RuleOrigin, StopRule  # noqa: E402  # Django looks for it here

__all__ = [
    "OPEN",
    "STOP_NOT_HELD",
    "CloseReason",
    "ExecutionPosition",
    "Guardian",
    "PositionQuerySet",
    "RuleOrigin",
    "Side",
    "StopRule",
]
