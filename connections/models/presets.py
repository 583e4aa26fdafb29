"""Presets for sizing and limits."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from common.db.row_faults import FieldConstraints
from common.fields import AmountField, ChoiceField
from common.names import NameField
from common.stop_rules import StopRuleFields, clean_stop_rule, stop_rule_checks
from common.time_zones import zone_fault
from connections import symbol_filter, trading_day
from connections.models.limit_columns import PresetLimits, limit_constraints


class SizingMode(models.TextChoices):
    """How a preset computes the quantity of an entry."""

    FIXED = "FIXED", "Fixed quantity"
    PER_BALANCE = "PER_BALANCE", "Fixed quantity for each amount of balance"
    PERCENT_BALANCE = "PERCENT_BALANCE", "Percent of balance as notional"
    PERCENT_EQUITY = "PERCENT_EQUITY", "Percent of equity as notional"
    FIXED_AMOUNT = "FIXED_AMOUNT", "Fixed amount as notional"
    RISK_PERCENT = "RISK_PERCENT", "Percent of equity at risk"
    RISK_AMOUNT = "RISK_AMOUNT", "Amount at risk"
    RISK_CATEGORY = "RISK_CATEGORY", "Percent of equity at risk, by the signal's risk category"
    PROVIDER_MULTIPLE = "PROVIDER_MULTIPLE", "The provider's quantity, times the multiplier"
    EQUITY_RATIO = "EQUITY_RATIO", "The provider's quantity, in proportion to equity"


SIZE_FIELDS: dict[SizingMode, tuple[str, ...]] = {
    SizingMode.FIXED: ("fixed_quantity",),
    SizingMode.PER_BALANCE: ("fixed_quantity", "per_balance"),
    SizingMode.PERCENT_BALANCE: ("percent_of_balance",),
    SizingMode.PERCENT_EQUITY: ("percent_of_equity",),
    SizingMode.FIXED_AMOUNT: ("fixed_amount",),
    SizingMode.RISK_PERCENT: ("risk_percent",),
    SizingMode.RISK_AMOUNT: ("risk_amount",),
}
"""The numbers that a mode needs; the modes that are not listed need none."""


def _mode_has_numbers() -> Q:
    condition = Q()
    for mode, names in SIZE_FIELDS.items():
        needed = Q(**{f"{name}__isnull": False for name in names})
        condition &= ~Q(sizing_mode=mode.value) | needed
    return condition


class StuckPolicy(models.TextChoices):
    """What to do about an entry that is stuck at the broker."""

    CANCEL = "CANCEL", "Cancel at the broker"
    ESCALATE = "ESCALATE", "Alert the operators"


class TradingPreset(FieldConstraints, StopRuleFields, PresetLimits):
    """Sizing and limits of a connection's trades. Percentages are numbers such as 1.5."""

    CONSTRAINT_FIELDS = {
        "preset_mode_has_number": "sizing_mode",
        "minimum_needs_trade_risk": "allow_minimum_quantity",
    }

    name = NameField(max_length=100)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="presets",
        help_text="Empty: an operators' preset that all users may use.",
    )
    sizing_mode = ChoiceField(max_length=20, choices=SizingMode, default=SizingMode.RISK_PERCENT)
    fixed_quantity = AmountField(null=True, blank=True, help_text="Base units.")
    per_balance = AmountField(
        null=True, blank=True,
        help_text="Account currency: the fixed quantity is traded for each such amount of balance.",
    )  # fmt: skip
    percent_of_balance = AmountField(null=True, blank=True)
    percent_of_equity = AmountField(null=True, blank=True)
    fixed_amount = AmountField(null=True, blank=True, help_text="Account currency.")
    risk_percent = AmountField(null=True, blank=True, help_text="Of equity, lost at the stop.")
    risk_amount = AmountField(
        null=True, blank=True, help_text="Account currency, lost at the stop."
    )
    small_risk_percent = AmountField(default=Decimal(1), db_default=Decimal(1))
    normal_risk_percent = AmountField(default=Decimal(2), db_default=Decimal(2))
    large_risk_percent = AmountField(default=Decimal(3), db_default=Decimal(3))
    allow_minimum_quantity = models.BooleanField(
        default=False, db_default=False,
        help_text="Trade the broker's minimum if the calculated quantity is below it. Needs a "
        "limit of the risk of a single trade.",
    )  # fmt: skip
    multiplier = AmountField(default=Decimal(1))
    small_multiplier = AmountField(default=Decimal("0.5"))
    normal_multiplier = AmountField(default=Decimal(1))
    large_multiplier = AmountField(default=Decimal(2))
    slippage_alert_threshold_pips = AmountField(
        "slippage alert threshold", default=Decimal(5), help_text="In the slippage unit."
    )
    max_signal_age_seconds = models.IntegerField(default=300)
    broker_holds_stops = models.BooleanField(
        default=True, help_text="Stops and targets are placed at the broker if it supports them."
    )
    stop_move_seconds = models.SmallIntegerField(
        default=5, db_default=5,
        help_text="Break-even and trailing: the least time between two moves of a stop, in"
        " seconds.",
    )  # fmt: skip
    stuck_policy = ChoiceField(max_length=8, choices=StuckPolicy, default=StuckPolicy.ESCALATE)
    trading_day_zone = models.CharField(
        max_length=64, default=trading_day.DEFAULT_ZONE,
        help_text="The zone of the trading day's start.",
    )  # fmt: skip
    trading_day_start = models.TimeField(
        default=trading_day.DEFAULT_START, db_default=trading_day.DEFAULT_START,
        help_text="Local time at which a trading day starts, and the one before ends.",
    )  # fmt: skip
    decision_provider = models.ForeignKey(
        "connections.DecisionProvider", models.PROTECT, null=True, blank=True,
        related_name="presets",
        help_text="May reject or scale each entry before it is sent. Empty: none.",
    )  # fmt: skip
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
                condition=Q(max_spread__isnull=True) | Q(max_spread__gte=0),
                name="preset_spread_gte_0",
                violation_error_message="Max spread is 0 or more, or empty.",
            ),
            models.CheckConstraint(
                condition=(
                    Q(max_symbol_exposure_percent__isnull=True)
                    | Q(max_symbol_exposure_percent__gt=0)
                )
                & (Q(max_open_orders__isnull=True) | Q(max_open_orders__gt=0)),
                name="preset_exposure_limits_gt_0",
                violation_error_message=(
                    "Max symbol exposure percent and max open orders are above 0, or empty."
                ),
            ),
            models.CheckConstraint(
                condition=Q(max_price_deviation_percent__isnull=True)
                | Q(max_price_deviation_percent__gt=0),
                name="preset_deviation_gt_0",
                violation_error_message="Max price deviation percent is above 0, or empty.",
            ),
            models.CheckConstraint(
                condition=Q(max_level_deviation_percent__isnull=True)
                | Q(max_level_deviation_percent__gt=0),
                name="preset_level_deviation_gt_0",
                violation_error_message="Max level deviation percent is above 0, or empty.",
            ),
            models.CheckConstraint(
                condition=Q(allowed_symbols__len__lte=symbol_filter.MAX_PATTERNS),
                name="preset_allowed_symbols_count",
                violation_error_message=(
                    f"At most {symbol_filter.MAX_PATTERNS} allowed symbols; "
                    "EUR/* stands for all symbols of a currency."
                ),
            ),
            models.CheckConstraint(
                condition=_mode_has_numbers(),
                name="preset_mode_has_number",
                violation_error_message=(
                    "The sizing mode needs its number: percent of equity at risk needs "
                    "risk percent, amount at risk its amount, fixed quantity its quantity, "
                    "fixed quantity for each amount of balance both, percent of balance or "
                    "equity its percent, fixed amount its amount."
                ),
            ),
            models.CheckConstraint(
                condition=(Q(per_balance__isnull=True) | Q(per_balance__gt=0))
                & (Q(risk_amount__isnull=True) | Q(risk_amount__gt=0)),
                name="preset_amounts_gt_0",
                violation_error_message=(
                    "The amount of balance and the amount at risk are above 0, or empty."
                ),
            ),
            models.CheckConstraint(
                condition=Q(percent_of_equity__isnull=True)
                | Q(percent_of_equity__gt=0, percent_of_equity__lte=10_000),
                name="percent_of_equity_range",
                violation_error_message="Percent of equity is above 0 and at most 10,000.",
            ),
            models.CheckConstraint(
                condition=Q(
                    small_risk_percent__gt=0,
                    small_risk_percent__lte=100,
                    normal_risk_percent__gt=0,
                    normal_risk_percent__lte=100,
                    large_risk_percent__gt=0,
                    large_risk_percent__lte=100,
                ),
                name="category_risk_percents_0_100",
                violation_error_message=(
                    "The risk percent of each category is above 0 and at most 100."
                ),
            ),
            models.CheckConstraint(
                condition=Q(max_trade_risk_percent__isnull=True)
                | Q(max_trade_risk_percent__gt=0, max_trade_risk_percent__lte=100),
                name="max_trade_risk_0_100",
                violation_error_message=(
                    "Max trade risk percent is above 0 and at most 100, or empty."
                ),
            ),
            models.CheckConstraint(
                condition=Q(allow_minimum_quantity=False) | Q(max_trade_risk_percent__isnull=False),
                name="minimum_needs_trade_risk",
                violation_error_message=(
                    "Trading the broker's minimum needs max trade risk percent: it limits what "
                    "the minimum may lose."
                ),
            ),
            *limit_constraints("preset"),
            models.CheckConstraint(
                condition=Q(stop_move_seconds__gte=1, stop_move_seconds__lte=3600),
                name="stop_move_seconds_range",
                violation_error_message="Stop move seconds are 1 to 3,600.",
            ),
            *stop_rule_checks("preset"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raise ValidationError for an unknown time zone, a bad symbol or session, or a bad rule.

        Allowed symbols and sessions are put into their canonical spelling.
        """
        errors = clean_stop_rule(self)
        try:
            super().clean()
        except ValidationError as unread:
            errors |= unread.message_dict
        if fault := zone_fault(self.trading_day_zone):
            errors["trading_day_zone"] = [fault]
        provider = self.decision_provider
        if provider is not None and provider.user_id not in (None, self.user_id):
            errors["decision_provider"] = ["This provider belongs to another user."]
        if errors:
            raise ValidationError(errors)
