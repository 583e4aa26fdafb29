"""Daily results that can be added up, costs, quality, and the records of feeds."""

from decimal import Decimal

from django.contrib.postgres.fields import ArrayField
from django.db import models

from analytics.results.rollup import Rollup
from common.db.functions import ClockTimestamp
from common.fields import AmountField, ChoiceField
from connections.models import ExecutionConnection
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from signals.records.results import Seal


class AnalyticsDaily(models.Model):
    """The result of the positions closed on one trading day, in the account's currency.

    Days can be combined into any range (`Rollup`, docs/analytics.md); win rate, profit factor and
    average duration are computed from the combined row.
    """

    connection = models.ForeignKey(
        ExecutionConnection, models.CASCADE, related_name="analytics", db_index=False
    )
    day = models.DateField(help_text="Trading day in the preset's zone; it ends at 17:00 there.")
    trades = models.IntegerField(default=0)
    wins = models.IntegerField(default=0)
    losses = models.IntegerField(default=0)
    gross_profit = AmountField(default=Decimal(0))
    gross_loss = AmountField(default=Decimal(0), help_text="A positive number.")
    commission = AmountField(default=Decimal(0))
    swap = AmountField(
        default=Decimal(0), db_default=Decimal(0), help_text="Below 0 if it was charged."
    )
    unconverted_fees = models.JSONField(
        default=dict, db_default={}, blank=True,
        help_text="Fees for which no rate was quoted, by currency; in no sum.",
    )  # fmt: skip
    total_pnl = AmountField(default=Decimal(0), help_text="Net of commission and swap.")
    highest_prefix = AmountField(default=Decimal(0))
    lowest_prefix = AmountField(default=Decimal(0))
    max_drawdown = AmountField(default=Decimal(0), help_text="A positive number.")
    duration_seconds = AmountField(default=Decimal(0), help_text="Of all trades together.")
    computed_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        ordering = ("-day", "connection_id")
        verbose_name_plural = "analytics (daily)"
        constraints = [
            models.UniqueConstraint(fields=["connection", "day"], name="one_row_a_day"),
        ]
        indexes = [models.Index(fields=["day"], name="analytics_day")]

    def __str__(self) -> str:
        return f"{self.connection_id} {self.day}"

    @property
    def rollup(self) -> Rollup:
        """The day as a `Rollup`, which can be combined with other days."""
        return Rollup(
            trades=self.trades,
            wins=self.wins,
            losses=self.losses,
            gross_profit=self.gross_profit,
            gross_loss=self.gross_loss,
            commission=self.commission,
            swap=self.swap,
            total=self.total_pnl,
            highest=self.highest_prefix,
            lowest=self.lowest_prefix,
            drawdown=self.max_drawdown,
            duration_seconds=self.duration_seconds,
        )

    @property
    def win_rate(self) -> Decimal | None:
        """Winning trades / trades, None without trades."""
        return self.rollup.win_rate

    @property
    def profit_factor(self) -> Decimal | None:
        """Gross profit / gross loss, None without a loss."""
        return self.rollup.profit_factor

    @property
    def average_duration_seconds(self) -> Decimal | None:
        """Average time from open to close; None without trades."""
        return self.rollup.average_duration_seconds


class TradeCost(models.Model):
    """What a position cost in spread and slippage, in its account's currency; + is a cost.

    Both are part of the result already. A spread is NULL if the price source had no price in that
    minute: minute prices are kept for a week only, so the job writes what they show before.
    """

    position = models.OneToOneField(
        ExecutionPosition, models.CASCADE, primary_key=True, related_name="cost",
        db_constraint=False,  # a constraint's locks would be in the way of executions
    )  # fmt: skip
    connection = models.ForeignKey(
        ExecutionConnection, models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    entry_spread = AmountField(null=True, help_text="Half of the minute's mean spread at entry.")
    exit_spread = AmountField(null=True, help_text="Half of the minute's mean spread at exit.")
    slippage = AmountField(null=True, help_text="Of its orders whose slippage is known.")
    computed_at = models.DateTimeField(db_default=ClockTimestamp())

    def __str__(self) -> str:
        return f"costs of {self.position_id}"


class SignalQuality(models.Model):
    """The medians of all persons for whom an entry of a signal has filled, by kind of money.

    is_paper: those of paper accounts; else of real ones. persons: how many those are. Tenants see
    the row only if there are more than five, so that five are others. Medians of market entries
    alone: latencies.
    """

    signal = models.ForeignKey(
        Signal, models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    is_paper = models.BooleanField(default=False)
    persons = models.IntegerField()
    unit = models.CharField(max_length=7, blank=True, help_text="Empty: the persons differ.")
    slippage = AmountField(null=True, help_text="In the unit, + is worse.")
    bps = AmountField(null=True)
    to_wire_ms = AmountField(null=True)
    to_fill_ms = AmountField(null=True)
    computed_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        verbose_name_plural = "signal quality"
        constraints = [
            models.UniqueConstraint(fields=["signal", "is_paper"], name="one_quality_of_money"),
        ]

    def __str__(self) -> str:
        return f"quality of signal {self.signal_id}{' on paper' if self.is_paper else ''}"


class ExecutionDay(models.Model):
    """How the orders of one UTC day were executed: of all, or of one value of one part of them.

    Of real or of paper money, of entries or of exits, and of the accounts of one currency. All
    columns can be added up over days (`analytics/installation/`). The row of `newest_line` is
    written for each day that was computed, also without orders.
    """

    class Part(models.TextChoices):
        ALL = "all", "All"
        BROKER = "broker", "Broker"
        SYMBOL = "symbol", "Symbol"
        HOUR = "hour", "Hour, UTC"
        ORDER_TYPE = "type", "Order type"
        ACCOUNT = "account", "Account"
        PLACE = "place", "Place in the fan-out"

    part = ChoiceField(max_length=7, choices=Part)
    is_paper = models.BooleanField()
    is_exit = models.BooleanField()
    day = models.DateField(help_text="UTC, machine time, on which the orders were written.")
    value = models.CharField(max_length=40, blank=True)
    currency = models.CharField(max_length=16, blank=True, help_text="Empty: never read.")
    orders = models.BigIntegerField(default=0)
    skipped = models.BigIntegerField(default=0)
    denied = models.BigIntegerField(default=0)
    unsent = models.BigIntegerField(default=0, help_text="Waiting, or ended before they were sent.")
    failed = models.BigIntegerField(default=0)
    filled = models.BigIntegerField(default=0, help_text="At least in part.")
    cancelled = models.BigIntegerField(default=0, help_text="Sent, nothing filled.")
    expired = models.BigIntegerField(default=0, help_text="Sent, nothing filled.")
    rejected = models.BigIntegerField(default=0)
    unknown = models.BigIntegerField(default=0)
    working = models.BigIntegerField(default=0, help_text="At the broker, nothing filled yet.")
    limited = models.BigIntegerField(default=0, help_text="Filled, with a slippage limit.")
    beyond_limit = models.BigIntegerField(default=0, help_text="With a fill beyond that limit.")
    pips_count = models.BigIntegerField(default=0)
    pips_sum = AmountField(default=Decimal(0))
    pips_squares = models.DecimalField(max_digits=60, decimal_places=18, default=Decimal(0))
    pips_largest = AmountField(null=True, help_text="The largest absolute value.")
    bps_count = models.BigIntegerField(default=0)
    bps_sum = AmountField(default=Decimal(0))
    bps_squares = models.DecimalField(max_digits=60, decimal_places=18, default=Decimal(0))
    bps_largest = AmountField(null=True)
    commission = AmountField(default=Decimal(0))
    unconverted = models.BigIntegerField(default=0, help_text="Orders with fees without a rate.")
    missed = models.BigIntegerField(default=0, help_text="Entries that others filled.")
    missed_priced = models.BigIntegerField(default=0)
    missed_cost = AmountField(default=Decimal(0), help_text="What others earned of these.")
    sketch_keys = ArrayField(models.IntegerField(), default=list)
    sketch_counts = ArrayField(models.IntegerField(), default=list)
    newest_line = models.BigIntegerField(
        null=True, help_text="Of the execution log, when computed."
    )
    seconds = models.FloatField(default=0, help_text="That the computation took.")
    computed_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["part", "is_paper", "is_exit", "day", "value", "currency"],
                name="one_execution_day",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.part} {self.value}"


class FeedTrade(models.Model):
    """A published OPEN signal as its feed's record counts it. docs/records.md."""

    class State(models.TextChoices):
        OPEN = "OPEN", "Open"
        CLOSED = "CLOSED", "Closed"
        NOT_ENTERED = "NOT_ENTERED", "Not entered"
        UNKNOWN = "UNKNOWN", "No price is known"

    class Basis(models.TextChoices):
        PRICES = "PRICES", "Recorded prices"
        FILLS = "FILLS", "Median fill of subscribers"

    signal = models.OneToOneField(Signal, models.CASCADE, primary_key=True, related_name="+")
    feed = models.ForeignKey(Feed, models.CASCADE, related_name="+", db_index=False)
    pair = models.CharField(max_length=20)
    direction = models.CharField(max_length=4)
    published_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, help_text="Market clock.")
    state = ChoiceField(max_length=11, choices=State)
    basis = ChoiceField(max_length=6, choices=Basis, blank=True)
    entry_price = AmountField(null=True)
    exit_price = AmountField(null=True, help_text="The mean of its exits, by their parts.")
    percent = AmountField(null=True, help_text="Of the entry price; what is open at its mark.")
    r = AmountField(null=True, help_text="In distances from the entry to its stop.")
    marks = ArrayField(models.CharField(max_length=20), default=list)
    subscribers = models.IntegerField(default=0, help_text="Persons who traded it for real.")
    real_low = AmountField(null=True, help_text="25th percentile of their results, percent.")
    real_median = AmountField(null=True)
    real_high = AmountField(null=True, help_text="75th percentile.")
    slippage = AmountField(null=True, help_text="Their median, basis points, + is worse.")
    progress = models.JSONField(help_text="How far it was followed.")
    followed_until = models.DateTimeField(help_text="Market clock.")
    is_final = models.BooleanField(default=False, help_text="It is not computed again.")

    seal: Seal | None = None
    """Where its result is sealed in the feed's record; set by `record_selectors.trades_of`."""

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(fields=["feed", "-published_at", "-signal"], name="feed_trade_newest"),
            models.Index(fields=["feed", "ended_at", "signal"], name="feed_trade_in_order"),
            models.Index(
                fields=["feed"], name="feed_trade_unfinished", condition=models.Q(is_final=False)
            ),
        ]

    def __str__(self) -> str:
        return f"S-{self.signal_id} {self.state}"

    @property
    def sealed_in(self) -> int | None:
        """The number of the link that seals its result; None: it is not final, or not known."""
        return self.seal.number if self.seal else None

    @property
    def correction(self) -> str:
        """Why another result was sealed before; empty: none was."""
        return self.seal.correction if self.seal else ""


class FeedRecord(models.Model):
    """The figures of a feed's record (`analytics/records/figures.py`), as of `until`."""

    feed = models.OneToOneField(Feed, models.CASCADE, primary_key=True, related_name="+")
    until = models.DateTimeField(help_text="Market clock: later prices and signals are not in it.")
    followers = models.IntegerField(help_text="Persons with a live account that takes it now.")
    figures = models.JSONField()
    delayed = models.JSONField(
        default=dict, db_default={},
        help_text="The same as of 24 hours before, for those who do not take the feed;"
        " empty: not computed.",
    )  # fmt: skip

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"record of feed {self.feed_id}"


class Preflight(models.Model):
    """A replay of a feed's last signals on an account. The row is the job. ADR 0042.

    One of an account and a feed: a new request replaces it. Deleted a day after it was asked for.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"

    connection = models.ForeignKey(
        ExecutionConnection, models.CASCADE, related_name="+", db_index=False
    )
    feed = models.ForeignKey(Feed, models.CASCADE, related_name="+")
    signals_wanted = models.IntegerField(help_text="How many of the feed's last signals.")
    multiplier = AmountField(default=Decimal(1), help_text="Of the subscription it is asked for.")
    directions = models.CharField(max_length=4)
    symbol_map = models.JSONField(default=dict, blank=True)
    state = ChoiceField(max_length=7, choices=State, default=State.WAITING)
    requested_at = models.DateTimeField(db_default=ClockTimestamp())
    claimed_until = models.DateTimeField(null=True, help_text="Then another worker may take it.")
    tries = models.SmallIntegerField(default=0, help_text="Also fences a worker that was too slow.")
    signals_done = models.IntegerField(default=0)
    signals_total = models.IntegerField(default=0)
    result = models.JSONField(null=True, help_text="`preflight/summary.py`.")
    ready_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["connection", "feed"], name="one_preflight"),
        ]
        indexes = [models.Index(fields=["requested_at"], name="preflight_requested")]

    def __str__(self) -> str:
        return f"{self.connection_id} on feed {self.feed_id}: {self.state}"

    @property
    def is_running(self) -> bool:
        """Whether its result is still to come."""
        return self.state in (self.State.WAITING, self.State.RUNNING)
