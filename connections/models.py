"""Broker accounts and everything an owner decides about them."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from common.clocks import market_now
from common.database import ClockTimestamp
from common.fields import AmountField
from signals.models import Feed


class DataConnection(models.Model):
    """Where prices come from."""

    class Kind(models.TextChoices):
        REPLAY = "replay", "Recorded quotes"
        STATIC = "static", "Constant quotes (benchmarks)"
        BROKER = "broker", "The broker's own stream"

    name = models.CharField(max_length=100)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+"
    )
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.REPLAY)
    settings = models.JSONField(default=dict, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class SizingMode(models.TextChoices):
    FIXED = "FIXED", "Fixed quantity"
    PERCENT_BALANCE = "PERCENT_BALANCE", "Percent of balance as notional"
    FIXED_AMOUNT = "FIXED_AMOUNT", "Fixed amount as notional"
    RISK_PERCENT = "RISK_PERCENT", "Percent of equity at risk"


class StuckPolicy(models.TextChoices):
    CANCEL = "CANCEL", "Cancel at the broker"
    ESCALATE = "ESCALATE", "Tell the operators"


class TradingPreset(models.Model):
    """How large a trade may be, and where it stops. Percents are numbers such as 1.5."""

    name = models.CharField(max_length=100)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="presets",
        help_text="Empty: an operators' preset that everyone may use.",
    )
    sizing_mode = models.CharField(
        max_length=16, choices=SizingMode, default=SizingMode.RISK_PERCENT
    )
    fixed_quantity = AmountField(null=True, blank=True, help_text="Base units.")
    percent_of_balance = AmountField(null=True, blank=True)
    fixed_amount = AmountField(null=True, blank=True, help_text="Account currency.")
    risk_percent = AmountField(null=True, blank=True, help_text="Of equity, lost at the stop.")
    multiplier = AmountField(default=Decimal(1))
    small_multiplier = AmountField(default=Decimal("0.5"))
    normal_multiplier = AmountField(default=Decimal(1))
    large_multiplier = AmountField(default=Decimal(2))
    max_quantity = AmountField(null=True, blank=True, help_text="Base units.")
    max_open_positions = models.IntegerField(default=20)
    max_leverage = AmountField(default=Decimal(30), help_text="Open notional / equity.")
    max_portfolio_risk_percent = AmountField(default=Decimal(10))
    max_slippage_pips = AmountField(null=True, blank=True)
    slippage_alert_threshold_pips = AmountField(default=Decimal(5))
    max_signal_age_seconds = models.IntegerField(default=300)
    broker_holds_stops = models.BooleanField(
        default=True, help_text="Stops and targets rest at the broker where it can hold them."
    )
    stuck_policy = models.CharField(
        max_length=8, choices=StuckPolicy, default=StuckPolicy.ESCALATE
    )
    trading_day_zone = models.CharField(
        max_length=64, default="America/New_York", help_text="A trading day ends at 17:00 there."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        constraints = [
            models.CheckConstraint(
                condition=Q(risk_percent__isnull=True)
                | Q(risk_percent__gt=0, risk_percent__lte=100),
                name="risk_percent_0_100",
            ),
            models.CheckConstraint(
                condition=Q(percent_of_balance__isnull=True)
                | Q(percent_of_balance__gt=0, percent_of_balance__lte=10_000),
                name="percent_of_balance_range",
            ),
            models.CheckConstraint(
                condition=(Q(fixed_quantity__isnull=True) | Q(fixed_quantity__gt=0))
                & (Q(fixed_amount__isnull=True) | Q(fixed_amount__gt=0))
                & (Q(max_quantity__isnull=True) | Q(max_quantity__gt=0)),
                name="preset_sizes_gt_0",
            ),
            models.CheckConstraint(
                condition=Q(
                    multiplier__gt=0,
                    small_multiplier__gt=0,
                    normal_multiplier__gt=0,
                    large_multiplier__gt=0,
                ),
                name="preset_multipliers_gt_0",
            ),
            models.CheckConstraint(
                condition=Q(
                    max_open_positions__gt=0,
                    max_leverage__gt=0,
                    max_portfolio_risk_percent__gt=0,
                    max_portfolio_risk_percent__lte=100,
                    max_signal_age_seconds__gt=0,
                ),
                name="preset_limits_range",
            ),
            models.CheckConstraint(
                condition=Q(slippage_alert_threshold_pips__gte=0)
                & (Q(max_slippage_pips__isnull=True) | Q(max_slippage_pips__gte=0)),
                name="preset_slippage_gte_0",
            ),
            models.CheckConstraint(
                condition=(~Q(sizing_mode="FIXED") | Q(fixed_quantity__isnull=False))
                & (~Q(sizing_mode="PERCENT_BALANCE") | Q(percent_of_balance__isnull=False))
                & (~Q(sizing_mode="FIXED_AMOUNT") | Q(fixed_amount__isnull=False))
                & (~Q(sizing_mode="RISK_PERCENT") | Q(risk_percent__isnull=False)),
                name="preset_mode_has_number",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ConnectionQuerySet(models.QuerySet["ExecutionConnection"]):
    def of(self, user_id: int) -> Self:
        return self.filter(user_id=user_id)

    def live(self) -> Self:
        """Not archived."""
        return self.filter(archived_at__isnull=True)


class ExecutionConnection(models.Model):
    """One broker account of a tenant, or of an administrator (then it takes every signal)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="execution_connections",
    )
    admin = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="admin_connections",
        help_text="An administrator's own account takes all published signals.",
    )
    name = models.CharField(max_length=100)
    type = models.CharField(max_length=20, help_text="A broker kind of the registry.")
    exchange_name = models.CharField(max_length=40, blank=True)
    account = models.CharField(max_length=60, help_text="Account number or login at the broker.")
    sealed_credentials = models.BinaryField(null=True, blank=True, editable=False)
    is_active = models.BooleanField(default=True)
    is_paused = models.BooleanField(default=False)
    settings = models.JSONField(default=dict, blank=True)
    preset = models.ForeignKey(TradingPreset, models.PROTECT, null=True, blank=True)
    data_connection = models.ForeignKey(DataConnection, models.PROTECT, null=True, blank=True)
    instrument_book = models.CharField(
        max_length=80, blank=True, help_text="Which list of instruments the account shares."
    )
    created_at = models.DateTimeField(default=market_now, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = ConnectionQuerySet.as_manager()

    class Meta:
        ordering = ("name", "id")
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=False, admin__isnull=True)
                | Q(user__isnull=True, admin__isnull=False),
                name="exactly_one_owner",
            ),
            models.UniqueConstraint(
                fields=["type", "exchange_name", "account"],
                condition=Q(archived_at__isnull=True),
                name="one_connection_an_account",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.type} · {self.account})"


class HealthStatus(models.TextChoices):
    UNTESTED = "UNTESTED", "Never tested"
    ACTIVE = "ACTIVE", "Healthy"
    ERROR = "ERROR", "Error"


class ConnectionHealth(models.Model):
    """How the connection is doing, apart from what its owner decided about it."""

    connection = models.OneToOneField(
        ExecutionConnection, models.CASCADE, primary_key=True, related_name="health"
    )
    status = models.CharField(
        max_length=8,
        choices=HealthStatus,
        default=HealthStatus.UNTESTED,
        db_default=HealthStatus.UNTESTED,
    )
    last_error = models.TextField(blank=True, default="", db_default="")
    last_error_at = models.DateTimeField(null=True)
    last_tested_at = models.DateTimeField(null=True)
    last_connected_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    last_test = models.JSONField(
        default=list, db_default=[], help_text="The named checks of the last connection test."
    )
    test_requested_at = models.DateTimeField(null=True)
    failures_in_a_row = models.IntegerField(default=0, db_default=0)
    circuit_open_until = models.DateTimeField(null=True)
    reconciled_at = models.DateTimeField(
        null=True, help_text="First clean comparison since the last (re)connect; no entry before."
    )
    lane_owner = models.CharField(max_length=80, blank=True, default="", db_default="")

    def __str__(self) -> str:
        return f"{self.connection_id}: {self.status}"


class AccountSnapshot(models.Model):
    """The account as the broker last told it, in the account's currency."""

    connection = models.OneToOneField(
        ExecutionConnection, models.CASCADE, primary_key=True, related_name="snapshot"
    )
    currency = models.CharField(max_length=10)
    balance = AmountField()
    equity = AmountField()
    margin_used = AmountField()
    free_margin = AmountField()
    leverage = AmountField()
    position_mode = models.CharField(max_length=8)
    read_at = models.DateTimeField(help_text="Machine time of the read's start.")

    def __str__(self) -> str:
        return f"{self.connection_id}: {self.equity} {self.currency}"


class Mailbox(models.Model):
    """A row that is only locked, never written: the order of work on one account."""

    connection = models.OneToOneField(
        ExecutionConnection, models.CASCADE, primary_key=True, related_name="mailbox"
    )

    class Meta:
        verbose_name_plural = "mailboxes"

    def __str__(self) -> str:
        return str(self.connection_id)


class Instrument(models.Model):
    """A broker's symbol with its steps. Accounts of one broker server share a book."""

    book = models.CharField(max_length=80)
    symbol = models.CharField(max_length=40, help_text="The broker's own name.")
    pair = models.CharField(max_length=20, help_text="Canonical BASE/QUOTE.")
    is_preferred = models.BooleanField(
        default=True, help_text="Which of several symbols of one pair is traded."
    )
    digits = models.SmallIntegerField()
    pip = AmountField()
    quantity_min = AmountField()
    quantity_step = AmountField()
    quantity_max = AmountField()
    contract_size = AmountField()
    stops_level = AmountField(default=Decimal(0))
    freeze_level = AmountField(default=Decimal(0))
    margin_rate = AmountField(default=Decimal(0))
    read_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["book", "symbol"], name="one_symbol_a_book"),
            models.UniqueConstraint(
                fields=["book", "pair"],
                condition=Q(is_preferred=True),
                name="one_preferred_symbol",
            ),
            models.CheckConstraint(
                condition=Q(quantity_step__gt=0, quantity_min__gt=0, pip__gt=0),
                name="instrument_steps_gt_0",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} ({self.book})"


class Directions(models.TextChoices):
    BOTH = "BOTH"
    BUY = "BUY", "Buys only"
    SELL = "SELL", "Sells only"


class Subscription(models.Model):
    """A connection takes a feed's signals. Archived ones are history; all others are candidates."""

    connection = models.ForeignKey(
        ExecutionConnection, models.CASCADE, related_name="subscriptions"
    )
    feed = models.ForeignKey(Feed, models.PROTECT, related_name="subscriptions")
    is_paused = models.BooleanField(default=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Market clock.")
    multiplier = AmountField(default=Decimal(1))
    symbol_map = models.JSONField(
        default=dict, blank=True, help_text='Canonical pair to broker symbol: {"EUR/USD": "EURUSD.m"}'
    )
    directions = models.CharField(max_length=4, choices=Directions, default=Directions.BOTH)
    archived_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "feed"], name="one_subscription"),
            models.CheckConstraint(
                condition=Q(multiplier__gt=0), name="subscription_multiplier_gt_0"
            ),
        ]
        indexes = [
            models.Index(
                fields=["feed"], name="subscription_live", condition=Q(archived_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.connection_id} takes {self.feed_id}"


class SubscriptionInterval(models.Model):
    """From when until when a subscription stood (market clock): audit recomputes by it who was a
    candidate at a publication. Half-open: [started_at, ended_at)."""

    subscription = models.ForeignKey(Subscription, models.CASCADE, related_name="intervals")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["subscription"], condition=Q(ended_at=None), name="one_open_interval"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subscription_id}: {self.started_at} – {self.ended_at or 'now'}"


class HaltMode(models.TextChoices):
    REDUCING = "REDUCING", "Exits only"
    HALTED = "HALTED", "Nothing is sent"


class KillSwitch(models.Model):
    """A halt of trading: for all, a feed, a tenant or one connection. Released ones are history."""

    class Scope(models.TextChoices):
        ALL = "ALL"
        FEED = "FEED"
        USER = "USER"
        CONNECTION = "CONNECTION"

    scope = models.CharField(max_length=10, choices=Scope)
    mode = models.CharField(max_length=8, choices=HaltMode)
    feed = models.ForeignKey(Feed, models.CASCADE, null=True, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+"
    )
    connection = models.ForeignKey(ExecutionConnection, models.CASCADE, null=True, blank=True)
    reason = models.CharField(max_length=200)
    set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    set_at = models.DateTimeField(db_default=ClockTimestamp())
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "kill switches"
        constraints = [
            models.CheckConstraint(
                condition=Q(scope="ALL", feed=None, user=None, connection=None)
                | Q(scope="FEED", feed__isnull=False, user=None, connection=None)
                | Q(scope="USER", user__isnull=False, feed=None, connection=None)
                | Q(scope="CONNECTION", connection__isnull=False, feed=None, user=None),
                name="kill_switch_names_its_scope",
            ),
        ]
        indexes = [
            models.Index(
                fields=["scope"], name="kill_switch_set", condition=Q(released_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.mode} {self.scope.lower()}"
