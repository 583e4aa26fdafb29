"""The columns of the limits that a preset sets and a subscription may tighten."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import CheckConstraint, Q

from common import units
from common.fields import AmountField, ChoiceField
from connections import symbol_filter, trading_sessions
from connections.entry_limits import ENTRY_LIMITS, EntryLimit, EntryLimits


class LimitColumns(models.Model):
    """A row with limits of entries, whose columns `_add_columns` derives from `EntryLimits`."""

    class Meta:
        abstract = True

    @property
    def limits(self) -> EntryLimits:
        return EntryLimits._make(getattr(self, name) for name in EntryLimits._fields)

    def clean(self) -> None:
        """Put symbols and sessions into their spelling. Raises ValidationError for other texts."""
        row: Any = self
        errors: dict[str, list[str]] = {}
        row.allowed_symbols, unread = symbol_filter.read_patterns(row.allowed_symbols)
        if unread:
            errors["allowed_symbols"] = unread
        row.trading_sessions, unread = trading_sessions.read_sessions(row.trading_sessions)
        if unread:
            errors["trading_sessions"] = unread
        if errors:
            raise ValidationError(errors)


class PresetLimits(LimitColumns):
    """The limits of a preset, with the defaults of a new one."""

    class Meta:
        abstract = True


class OwnLimits(LimitColumns):
    """The limits that a row has of its own. None is set in a new one."""

    class Meta:
        abstract = True


def _column(limit: EntryLimit, *, of_preset: bool) -> models.Field[Any, Any]:
    about: dict[str, Any] = {"verbose_name": limit.title, "help_text": limit.help}
    if limit.type is bool:
        return models.BooleanField(default=False, db_default=False, **about)
    if limit.type is str:
        about |= {"choices": units.CHOICES, "max_length": 7}
        return ChoiceField(blank=True, default="", db_default="", **about)
    if limit.item_length:
        item: models.Field[Any, Any] = models.CharField(max_length=limit.item_length)
        return ArrayField(item, default=list, blank=True, db_default=[], **about)
    kind = AmountField if limit.type is Decimal else models.IntegerField
    if of_preset and not limit.is_optional:
        return kind(default=limit.default, **about)
    if of_preset and limit.default is not None:
        about |= {"default": limit.default, "db_default": limit.default}
    return kind(null=True, blank=True, **about)


def _add_columns(model: Any, *, of_preset: bool) -> None:
    for name, limit in ENTRY_LIMITS.items():
        model.add_to_class(name, _column(limit, of_preset=of_preset))


_add_columns(PresetLimits, of_preset=True)
_add_columns(OwnLimits, of_preset=False)

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
        *(_least(owner, limit) for limit in ENTRY_LIMITS.values() if _has_own_constraint(limit)),
    ]


def subscription_constraints() -> list[CheckConstraint]:
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


def _has_own_constraint(limit: EntryLimit) -> bool:
    """Whether no constraint of several limits, or of presets alone, contains it."""
    together = {
        *OF_SUBSCRIPTION, "max_spread", "max_slippage_pips", "max_size_multiple",
        "correlated_exposure_warning_percent",
    }  # fmt: skip
    return limit.is_number and limit.name not in together


def _least(owner: str, limit: EntryLimit) -> CheckConstraint:
    least = {f"{limit.name}__gt": 0} if limit.least is None else {f"{limit.name}__gte": limit.least}
    words = limit.name.replace("_", " ").capitalize()
    shown = "above 0" if limit.least is None else f"{limit.least} or more"
    return CheckConstraint(
        condition=Q(**{f"{limit.name}__isnull": True}) | Q(**least),
        name=f"{owner}_{limit.name}_least",
        violation_error_message=f"{words} is {shown}, or empty.",
    )


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
