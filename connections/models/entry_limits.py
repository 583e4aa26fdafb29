"""The limits of an entry that a preset sets and a subscription may tighten."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import CheckConstraint, Q

from common import units
from common.fields import AmountField, ChoiceField
from connections import symbol_filter, trading_sessions


class EntryLimits(models.Model):
    """Limits of an account's entries; empty: no limit. docs/limits.md has an example of each."""

    max_quantity = AmountField(null=True, blank=True, help_text="Base units.")
    max_trade_risk_percent = AmountField(
        null=True, blank=True, help_text="Of equity, lost at the stop of a single entry."
    )
    max_slippage_pips = AmountField(
        "max slippage", null=True, blank=True, help_text="In the slippage unit, see below."
    )
    slippage_unit = ChoiceField(
        max_length=7, choices=units.CHOICES, blank=True, default="", db_default="",
        help_text="Empty: pips for currencies and metals, basis points (0.01 %) for the rest.",
    )  # fmt: skip
    max_spread = AmountField(
        null=True, blank=True, help_text="In its unit. Entries with a wider spread are denied."
    )
    max_spread_unit = ChoiceField(
        max_length=7, choices=units.CHOICES, blank=True, default="", db_default="",
        help_text="Empty: pips for currencies and metals, basis points (0.01 %) for the rest.",
    )  # fmt: skip
    max_symbol_exposure_percent = AmountField(
        null=True, blank=True, help_text="Open notional of a symbol, in percent of equity."
    )
    max_currency_exposure_percent = AmountField(
        null=True, blank=True,
        help_text="Buys less sells of a currency, coin or share, in percent of equity.",
    )  # fmt: skip
    correlated_exposure_warning_percent = AmountField(
        null=True, blank=True,
        help_text="Warn about an entry beyond this net exposure to a currency, in percent of "
        "equity. Nothing is denied.",
    )  # fmt: skip
    max_open_orders = models.IntegerField(
        null=True, blank=True, help_text="Entries of the account that are not filled yet."
    )
    max_orders_per_minute = models.IntegerField(
        null=True, blank=True, help_text="Entries that the account sends within a minute."
    )
    max_daily_notional = AmountField(
        null=True, blank=True,
        help_text="Account currency: notional of the entries of a trading day.",
    )  # fmt: skip
    max_daily_volume = AmountField(
        null=True, blank=True,
        help_text="Base units: quantity of the entries of a trading day in a symbol.",
    )  # fmt: skip
    max_size_multiple = AmountField(
        null=True, blank=True,
        help_text="Largest quantity, as a multiple of the median of the account's last entries in "
        "the symbol.",
    )  # fmt: skip
    max_price_deviation_percent = AmountField(
        null=True, blank=True,
        help_text="How far a signal's own price may be from the market, in percent of it.",
    )  # fmt: skip
    max_level_deviation_percent = AmountField(
        null=True, blank=True,
        help_text="The same for stop, targets, price limit and activation price, in percent of the "
        "smaller of both: 400 is a fifth to five times the market.",
    )  # fmt: skip
    same_trade_window_seconds = models.IntegerField(
        null=True, blank=True,
        help_text="Within this time after an entry, no second one of the same feed, symbol and "
        "side is sent.",
    )  # fmt: skip
    allowed_symbols = ArrayField(
        models.CharField(max_length=symbol_filter.MAX_LENGTH), default=list, blank=True,
        db_default=[],
        help_text="Symbols such as EUR/USD, or all of a currency: EUR/*, */USD. Empty: all.",
    )  # fmt: skip
    trading_sessions = ArrayField(
        models.CharField(max_length=trading_sessions.MAX_LENGTH), default=list, blank=True,
        db_default=[],
        help_text="When entries are sent, in the trading day's zone: MON-FRI 08:00-16:30. "
        "Empty: always.",
    )  # fmt: skip
    market_hours_only = models.BooleanField(
        default=False, db_default=False,
        help_text="No entries while the market of the symbol is closed: currencies and metals "
        "at the weekend.",
    )  # fmt: skip

    class Meta:
        abstract = True

    def clean(self) -> None:
        """Put symbols and sessions into their spelling. Raises ValidationError for other texts."""
        errors: dict[str, list[str]] = {}
        self.allowed_symbols, unread = symbol_filter.read_patterns(self.allowed_symbols)
        if unread:
            errors["allowed_symbols"] = unread
        self.trading_sessions, unread = trading_sessions.read_sessions(self.trading_sessions)
        if unread:
            errors["trading_sessions"] = unread
        if errors:
            raise ValidationError(errors)


ABOVE_ZERO = (
    "max_currency_exposure_percent",
    "max_orders_per_minute",
    "max_daily_notional",
    "max_daily_volume",
    "same_trade_window_seconds",
)
OF_SUBSCRIPTION = (
    "max_quantity",
    "max_open_positions",
    "max_leverage",
    "max_portfolio_risk_percent",
    "max_trade_risk_percent",
    "max_symbol_exposure_percent",
    "max_open_orders",
    "max_price_deviation_percent",
    "max_level_deviation_percent",
    *ABOVE_ZERO,
)


def limit_constraints(owner: str) -> list[CheckConstraint]:
    """Return the constraints of the limits that presets and subscriptions have in common."""
    return [
        _positive(f"{owner}_entry_limits_gt_0", ABOVE_ZERO),
        CheckConstraint(
            condition=Q(correlated_exposure_warning_percent__isnull=True)
            | Q(correlated_exposure_warning_percent__gt=0),
            name=f"{owner}_correlation_gt_0",
            violation_error_message="Correlated exposure warning percent is above 0, or empty.",
        ),
        CheckConstraint(
            condition=Q(max_size_multiple__isnull=True) | Q(max_size_multiple__gte=1),
            name=f"{owner}_size_multiple_gte_1",
            violation_error_message="Max size multiple is 1 or more, or empty.",
        ),
        CheckConstraint(
            condition=Q(trading_sessions__len__lte=trading_sessions.MAX_SESSIONS),
            name=f"{owner}_sessions_count",
            violation_error_message=f"At most {trading_sessions.MAX_SESSIONS} trading sessions.",
        ),
    ]


def subscription_constraints() -> list[CheckConstraint]:
    """Return the constraints of a subscription's limits."""
    return [
        _positive("subscription_limits_gt_0", OF_SUBSCRIPTION),
        CheckConstraint(
            condition=(Q(max_spread__isnull=True) | Q(max_spread__gte=0))
            & (Q(max_slippage_pips__isnull=True) | Q(max_slippage_pips__gte=0)),
            name="subscription_spread_slippage_gte_0",
            violation_error_message="Max spread and max slippage are 0 or more, or empty.",
        ),
        CheckConstraint(
            condition=Q(allowed_symbols__len__lte=symbol_filter.MAX_PATTERNS),
            name="subscription_allowed_symbols_count",
            violation_error_message=f"At most {symbol_filter.MAX_PATTERNS} allowed symbols.",
        ),
        *limit_constraints("subscription")[1:],
    ]


def _positive(name: str, fields: tuple[str, ...]) -> CheckConstraint:
    condition = Q()
    for field in fields:
        condition &= Q(**{f"{field}__isnull": True}) | Q(**{f"{field}__gt": 0})
    words = [field.replace("_", " ") for field in fields]
    listed = f"{', '.join(words[:-1])} and {words[-1]}".capitalize()
    return CheckConstraint(
        condition=condition,
        name=name,
        violation_error_message=f"{listed} are above 0, or empty.",
    )
