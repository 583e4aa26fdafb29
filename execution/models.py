"""Orders and what became of them. An order row is the job; nothing else has to remember it."""

from __future__ import annotations

from decimal import Decimal
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, OuterRef, Q, Subquery, Sum

from common.database import ClockTimestamp
from common.fields import AmountField
from connections.models import DataConnection, ExecutionConnection
from positions.models import ExecutionPosition
from signals.models import OrderType, Signal, TimeInForce


class Status(models.TextChoices):
    PENDING = "PENDING"
    SUBMITTING = "SUBMITTING"
    SUBMITTED = "SUBMITTED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    UNKNOWN = "UNKNOWN"
    FILLED = "FILLED"
    SKIPPED = "SKIPPED"
    DENIED = "DENIED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


WORKING = (
    Status.PENDING,
    Status.SUBMITTING,
    Status.SUBMITTED,
    Status.PARTIALLY_FILLED,
    Status.CANCEL_REQUESTED,
)
IN_FLIGHT = (Status.SUBMITTING, Status.UNKNOWN)
AT_BROKER = (Status.SUBMITTED, Status.PARTIALLY_FILLED, Status.CANCEL_REQUESTED)
UNSENT = (
    Status.PENDING,
    Status.SKIPPED,
    Status.DENIED,
    Status.CANCELLED,
    Status.EXPIRED,
    Status.FAILED,
)
TERMINAL = (
    Status.FILLED,
    Status.SKIPPED,
    Status.DENIED,
    Status.REJECTED,
    Status.FAILED,
    Status.CANCELLED,
    Status.EXPIRED,
)


class Wish(models.TextChoices):
    """What is to be done with an order as soon as its state allows it."""

    NONE = ""
    CANCEL = "CANCEL"
    CLOSE = "CLOSE", "Cancel the rest and close what filled"


class OrderQuerySet(models.QuerySet["Order"]):
    def entries(self) -> Self:
        return self.filter(leg__startswith="entry")

    def exits(self) -> Self:
        return self.exclude(leg__startswith="entry")

    def in_flight(self) -> Self:
        """At a broker whose answer we lack."""
        return self.filter(status__in=IN_FLIGHT)

    def working(self) -> Self:
        return self.filter(status__in=WORKING)


class Order(models.Model):
    """One row for one leg. quantity: base units; prices: quote currency of the pair.

    Step times are machine time; `due_at` says when the row may run, `rung_at` when its bell was
    last rung. `answer_by`: until then its own process may still tell what became of the call.
    """

    signal = models.ForeignKey(
        Signal, models.PROTECT, null=True, blank=True, related_name="orders", db_index=False
    )
    connection = models.ForeignKey(
        ExecutionConnection, models.PROTECT, related_name="orders", db_index=False
    )
    executed_on = models.ForeignKey(
        ExecutionConnection, models.PROTECT, null=True, blank=True, related_name="+", db_index=False
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
    priority = models.SmallIntegerField(default=5, db_default=5)
    client_order_id = models.CharField(max_length=18, null=True)  # NULL: none yet
    broker_order_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    pair = models.CharField(max_length=20)
    symbol = models.CharField(max_length=40, blank=True, default="", db_default="")
    side = models.CharField(max_length=4)
    order_type = models.CharField(max_length=6, choices=OrderType)
    time_in_force = models.CharField(max_length=3, choices=TimeInForce)
    quantity = AmountField(null=True)
    limit_price = AmountField(null=True)
    stop_price = AmountField(null=True)
    stop_loss = AmountField(null=True)
    take_profit = AmountField(null=True)
    expected_price = AmountField(null=True)
    pip = AmountField(null=True)
    conversion_rate = AmountField(null=True)
    margin = AmountField(null=True, help_text="Estimated, account currency.")
    risk = AmountField(null=True, help_text="Lost if the stop is hit, account currency.")
    filled_quantity = AmountField(default=Decimal(0), db_default=Decimal(0))
    inferred_quantity = AmountField(
        default=Decimal(0),
        db_default=Decimal(0),
        help_text="The part of what has filled that was told as a sum only, or concluded.",
    )
    avg_fill_price = AmountField(null=True)
    commission = AmountField(default=Decimal(0), db_default=Decimal(0))
    slippage_pips = AmountField(null=True, help_text="Signed, + is worse.")
    status = models.CharField(
        max_length=16, choices=Status, default=Status.PENDING, db_default=Status.PENDING
    )
    reason = models.CharField(max_length=64, blank=True, default="", db_default="")
    detail = models.CharField(max_length=300, blank=True, default="", db_default="")
    wish = models.CharField(max_length=6, choices=Wish, blank=True, default="", db_default="")
    wish_tries = models.SmallIntegerField(default=0, db_default=0)  # how often a broker was asked
    attempt = models.SmallIntegerField(default=0, db_default=0)
    tries = models.SmallIntegerField(default=0, db_default=0)
    fence = models.BigIntegerField(default=0, db_default=0)
    owner = models.CharField(max_length=80, blank=True, default="", db_default="")
    answer_by = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    lookup_after = models.DateTimeField(null=True)
    proofs = models.SmallIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    rung_at = models.DateTimeField(null=True)
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
            # PENDING is left out of `order_flying`: a backlog must not slow each claim.
            models.Index(
                fields=["connection"],
                name="order_flying",
                condition=Q(status__in=(*IN_FLIGHT, *AT_BROKER)),
            ),
            models.Index(fields=["due_at"], name="order_due", condition=Q(status=Status.PENDING)),
            models.Index(
                fields=["answer_by"], name="order_in_flight", condition=Q(status__in=IN_FLIGHT)
            ),
            models.Index(fields=["due_at"], name="order_wish", condition=~Q(wish="")),
            models.Index(
                fields=["lookup_after"],
                name="order_lookup",
                condition=Q(lookup_after__isnull=False),
            ),
            models.Index(fields=["connection", "-id"], name="order_of_connection"),
            models.Index(
                fields=["position"], name="order_inferred", condition=Q(inferred_quantity__gt=0)
            ),
        ]

    def __str__(self) -> str:
        return f"O-{self.pk} {self.side} {self.pair} {self.leg}"

    @property
    def is_entry(self) -> bool:
        return self.leg.startswith("entry")


class Fill(models.Model):
    """One execution. time: the broker's, market clock.

    An order has at most one inferred one: what the broker told in sum, or we concluded, beyond the
    executions that it named. It shrinks as those come, and vanishes with the last of them.
    """

    connection = models.ForeignKey(
        ExecutionConnection, models.PROTECT, related_name="fills", db_index=False
    )
    broker_fill_id = models.CharField(max_length=100)
    order = models.ForeignKey(Order, models.PROTECT, related_name="fills")
    side = models.CharField(max_length=4)
    quantity = AmountField()
    price = AmountField()
    commission = AmountField(default=Decimal(0), db_default=Decimal(0))
    commission_currency = models.CharField(max_length=10, blank=True, default="", db_default="")
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


class ExecutionLog(models.Model):
    """Append-only: one line for each attempt and transition. Ids are plain, no foreign keys."""

    order_id = models.BigIntegerField(null=True)
    signal_id = models.BigIntegerField(null=True)
    connection_id = models.UUIDField(null=True)
    code = models.CharField(max_length=64)
    status = models.CharField(max_length=16, blank=True, default="", db_default="")
    detail = models.CharField(max_length=2000, blank=True, default="", db_default="")
    numbers = models.JSONField(default=dict, db_default={})
    at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(fields=["order_id"], name="log_of_order")]

    def __str__(self) -> str:
        return f"{self.code} of order {self.order_id}"


class Decision(models.TextChoices):
    """What somebody decided about a difference."""

    NONE = ""
    ADOPT = "ADOPT", "Take the broker's side over"
    RELINK = "RELINK", "It is really one of ours"
    CLOSE = "CLOSE", "Close it"
    IGNORE = "IGNORE", "Leave it as it is"


class DriftItem(models.Model):
    """A difference between us and a broker, with its evidence, waiting for a decision.

    It lives until a clean comparison does not see it any more. NOTED: told to nobody and never
    touched (an order that is not ours). IGNORED comes back as OPEN when its evidence changes.
    """

    class State(models.TextChoices):
        OPEN = "OPEN"
        NOTED = "NOTED"
        IGNORED = "IGNORED"
        RESOLVED = "RESOLVED"

    kind = models.CharField(max_length=32)
    connection = models.ForeignKey(ExecutionConnection, models.CASCADE, related_name="drift")
    order_id = models.BigIntegerField(null=True, blank=True)
    position_id = models.BigIntegerField(null=True, blank=True)
    key = models.CharField(max_length=120, help_text="What the difference is about.")
    evidence = models.JSONField(default=dict)
    state = models.CharField(max_length=8, choices=State, default=State.OPEN, db_default="OPEN")
    decision = models.CharField(
        max_length=6, choices=Decision, blank=True, default="", db_default=""
    )
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    resolution = models.CharField(max_length=300, blank=True, default="", db_default="")
    found_at = models.DateTimeField(db_default=ClockTimestamp())
    seen_at = models.DateTimeField(db_default=ClockTimestamp())
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "kind", "key"],
                condition=~Q(state="RESOLVED"),
                name="one_live_drift",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"

    @property
    def is_open(self) -> bool:
        return self.state == self.State.OPEN


class AccountReading(models.Model):
    """How far a broker's account has been read, apart from what it told."""

    connection = models.OneToOneField(
        ExecutionConnection, models.CASCADE, primary_key=True, related_name="reading"
    )
    fills_until = models.DateTimeField(
        null=True, help_text="Broker's time: all executions before it have been asked for."
    )
    poll_after = models.DateTimeField(
        null=True, help_text="Machine time; brokers without an event stream."
    )
    compare_asked_at = models.DateTimeField(
        null=True, help_text="Somebody wants both sides compared now."
    )

    def __str__(self) -> str:
        return str(self.connection_id)


class TallyQuerySet(models.QuerySet["Tally"]):
    def summed(self) -> Self:
        """One row a name, the newest, with `total`: what all rows of the name add up to."""
        newest = Tally.objects.order_by("name", "-last_at", "-id").distinct("name")
        of_name = Tally.objects.filter(name=OuterRef("name")).order_by().values("name")
        return self.filter(pk__in=newest.values("pk")).annotate(
            total=Subquery(of_name.annotate(total=Sum("n")).values("total"))
        )


class Tally(models.Model):
    """How often something was dropped that nobody is waiting for, so that operators see it.

    Rows are appended, so that no flush waits for another's count, and added up now and then.
    """

    class Name(models.TextChoices):
        MALFORMED = "message.malformed", "Message that is no list of ids"
        UNKNOWN_IDS = "message.unknown_ids", "Order in a message that does not exist"
        ENDED = "message.ended", "Order in a message that had ended"
        UNKNOWN_TASK = "message.unknown_task", "Message for a task that does not exist"
        NOBODYS_REPORT = "report.nobodys", "Report about nobody's connection"

    name = models.CharField(max_length=40, choices=Name)
    n = models.BigIntegerField(default=0, db_default=0)
    last = models.CharField(max_length=200, blank=True, default="", db_default="")
    last_at = models.DateTimeField(db_default=ClockTimestamp())

    objects = TallyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "tallies"

    def __str__(self) -> str:
        return f"{self.get_name_display()}: {self.n}"


class AuditRun(models.Model):
    """What an hourly audit counted."""

    at = models.DateTimeField(db_default=ClockTimestamp(), db_index=True)
    ok = models.BooleanField()
    counters = models.JSONField(default=dict)
    unread = models.JSONField(default=list, help_text="Broker kinds whose books were not shown.")

    class Meta:
        ordering = ("-at",)

    def __str__(self) -> str:
        return f"audit of {self.at:%Y-%m-%d %H:%M}"


class SourceWatch(models.Model):
    """When the levels that we guard were last judged by a price source's quotes, machine time."""

    source = models.OneToOneField(
        DataConnection, models.CASCADE, primary_key=True, related_name="+"
    )
    watched_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"source {self.pk}"


class WorkerLease(models.Model):
    """One row per process: until when it is believed alive, by the database's clock."""

    id = models.CharField(primary_key=True, max_length=80)
    role = models.CharField(max_length=400, help_text="Its queues, joined by +.")
    host = models.CharField(max_length=100)
    pid = models.IntegerField()
    lease_until = models.DateTimeField()
    started_at = models.DateTimeField(db_default=ClockTimestamp())

    def __str__(self) -> str:
        return self.id
