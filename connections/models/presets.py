"""Price sources (`DataConnection`), and presets for sizing and limits."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.db import models
from django.db.models import Q

from common import units
from common.fields import AmountField


class DataConnection(models.Model):
    """A price source. user None: shared with all users."""

    class Kind(models.TextChoices):
        """Where the prices come from."""

        REPLAY = "replay", "Recorded quotes"
        STATIC = "static", "Constant quotes (benchmarks)"
        BROKER = "broker", "The broker's own stream"

    name = models.CharField(max_length=100)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+"
    )
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.REPLAY)
    settings = models.JSONField(default=dict, blank=True)
    broker_connection = models.OneToOneField(
        "connections.ExecutionConnection",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="price_source",
        help_text="The account whose broker provides these prices.",
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        verbose_name = "price source"
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="broker") | Q(broker_connection__isnull=True),
                name="only_broker_source_has_connection",
                violation_error_message="Only a source of the kind broker has an account.",
            ),
            # Switched off, it may lack one.
            models.CheckConstraint(
                condition=~Q(kind="broker")
                | Q(broker_connection__isnull=False)
                | Q(is_active=False),
                name="broker_source_has_connection",
                violation_error_message=(
                    "A source of the kind broker needs the account that provides its prices."
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class SizingMode(models.TextChoices):
    """How a preset computes the quantity of an entry."""

    FIXED = "FIXED", "Fixed quantity"
    PERCENT_BALANCE = "PERCENT_BALANCE", "Percent of balance as notional"
    FIXED_AMOUNT = "FIXED_AMOUNT", "Fixed amount as notional"
    RISK_PERCENT = "RISK_PERCENT", "Percent of equity at risk"


class StuckPolicy(models.TextChoices):
    """What to do about an entry that is stuck at the broker."""

    CANCEL = "CANCEL", "Cancel at the broker"
    ESCALATE = "ESCALATE", "Alert the operators"


class TradingPreset(models.Model):
    """Sizing and limits of a connection's trades. Percentages are numbers such as 1.5."""

    name = models.CharField(max_length=100)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="presets",
        help_text="Empty: an operators' preset that all users may use.",
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
    max_slippage_pips = AmountField(
        "max slippage", null=True, blank=True, help_text="In the slippage unit, see below."
    )
    slippage_alert_threshold_pips = AmountField(
        "slippage alert threshold", default=Decimal(5), help_text="In the slippage unit."
    )
    slippage_unit = models.CharField(
        max_length=7, choices=units.CHOICES, blank=True, default="", db_default="",
        help_text="Empty: pips for currencies and metals, basis points (0.01 %) for the rest.",
    )  # fmt: skip
    max_signal_age_seconds = models.IntegerField(default=300)
    broker_holds_stops = models.BooleanField(
        default=True, help_text="Stops and targets are placed at the broker if it supports them."
    )
    stuck_policy = models.CharField(max_length=8, choices=StuckPolicy, default=StuckPolicy.ESCALATE)
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
                violation_error_message="Risk percent is above 0 and at most 100.",
            ),
            models.CheckConstraint(
                condition=Q(percent_of_balance__isnull=True)
                | Q(percent_of_balance__gt=0, percent_of_balance__lte=10_000),
                name="percent_of_balance_range",
                violation_error_message="Percent of balance is above 0 and at most 10,000.",
            ),
            models.CheckConstraint(
                condition=(Q(fixed_quantity__isnull=True) | Q(fixed_quantity__gt=0))
                & (Q(fixed_amount__isnull=True) | Q(fixed_amount__gt=0))
                & (Q(max_quantity__isnull=True) | Q(max_quantity__gt=0)),
                name="preset_sizes_gt_0",
                violation_error_message=(
                    "Fixed quantity, fixed amount and max quantity are above 0, or empty."
                ),
            ),
            models.CheckConstraint(
                condition=Q(
                    multiplier__gt=0,
                    small_multiplier__gt=0,
                    normal_multiplier__gt=0,
                    large_multiplier__gt=0,
                ),
                name="preset_multipliers_gt_0",
                violation_error_message="Each multiplier is above 0.",
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
                violation_error_message=(
                    "Max open positions, max leverage and max signal age are above 0; "
                    "max portfolio risk percent is above 0 and at most 100."
                ),
            ),
            models.CheckConstraint(
                condition=Q(slippage_alert_threshold_pips__gte=0)
                & (Q(max_slippage_pips__isnull=True) | Q(max_slippage_pips__gte=0)),
                name="preset_slippage_gte_0",
                violation_error_message="Max slippage and the alert threshold are 0 or more.",
            ),
            models.CheckConstraint(
                condition=(~Q(sizing_mode="FIXED") | Q(fixed_quantity__isnull=False))
                & (~Q(sizing_mode="PERCENT_BALANCE") | Q(percent_of_balance__isnull=False))
                & (~Q(sizing_mode="FIXED_AMOUNT") | Q(fixed_amount__isnull=False))
                & (~Q(sizing_mode="RISK_PERCENT") | Q(risk_percent__isnull=False)),
                name="preset_mode_has_number",
                violation_error_message=(
                    "The sizing mode needs its number: percent of equity at risk needs "
                    "risk percent, fixed quantity its quantity, percent of balance its "
                    "percent, fixed amount its amount."
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.name
