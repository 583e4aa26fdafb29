"""Settings of break-even and trailing stops, which presets, subscriptions and signals share."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django.db import models
from django.db.models import Q

from common import units
from common.fields import AmountField, ChoiceField
from common.money import plain

ATR = "ATR"
UNIT_CHOICES = [*units.CHOICES, ("PRICE", "Price"), (ATR, "ATR")]
"""The units of a rule's distances; PRICE: the quote currency itself; ATR: average true ranges of
the last 14 hours when the position opened."""
OFFSET_UNITS = UNIT_CHOICES[:-1]
"""The units of an offset that is resolved at once: no ATR, which needs prices of hours."""
ATR_MINUTES = 60
UNIT_NAMES = [name for name, _ in UNIT_CHOICES]
MAX_TARGET = 10
MAX_PERCENT = Decimal(100)

RULE_FIELDS = (
    "break_even_target",
    "break_even_profit",
    "break_even_offset",
    "trailing_distance",
    "trailing_step",
    "trailing_activation",
    "stop_rule_unit",
)
"""The fields of `StopRuleFields`, in the order of forms."""
RULE_ROWS = (RULE_FIELDS[:3], RULE_FIELDS[3:6], RULE_FIELDS[6])
"""The same, as the rows of a form."""
RULE_DISTANCES = RULE_FIELDS[1:6]
"""Those that are distances, all in the rule's unit."""


class StopRuleFields(models.Model):
    """When a position's stop goes to break-even, and how it trails. Distances are in one unit.

    0 as a target, a profit or a trailing distance switches off what a subscription or a preset has.
    """

    break_even_target = models.SmallIntegerField(
        null=True, blank=True,
        help_text="Move the stop to the entry price after so many targets. 0: never.",
    )  # fmt: skip
    break_even_profit = AmountField(
        null=True, blank=True,
        help_text="Move the stop to the entry price at this profit, in the unit below. 0: never.",
    )  # fmt: skip
    break_even_offset = AmountField(
        null=True, blank=True,
        help_text="How far beyond the entry price, on the side of the profit. Empty: 0.",
    )  # fmt: skip
    trailing_distance = AmountField(
        null=True, blank=True,
        help_text="How far the stop follows behind the best price. 0: it does not trail.",
    )  # fmt: skip
    trailing_step = AmountField(
        null=True, blank=True,
        help_text="The least move of a trailing stop. Empty: one pip.",
    )  # fmt: skip
    trailing_activation = AmountField(
        null=True, blank=True,
        help_text="The profit from which the stop trails. Empty: from the start.",
    )  # fmt: skip
    stop_rule_unit = ChoiceField(
        max_length=7, choices=UNIT_CHOICES, blank=True, default="", db_default="",
        help_text="Of all these distances. Empty: pips for currencies and metals, basis points"
        " (0.01 %) for the rest.",
    )  # fmt: skip

    class Meta:
        abstract = True


def stop_rule_checks(name: str) -> list[models.CheckConstraint]:
    """Return the constraints of a model with `StopRuleFields`. name: begins their names."""
    at_least_0 = Q(break_even_target__isnull=True) | Q(
        break_even_target__gte=0, break_even_target__lte=MAX_TARGET
    )
    for field in RULE_DISTANCES:
        at_least_0 &= Q(**{f"{field}__isnull": True}) | Q(**{f"{field}__gte": 0})
    return [
        models.CheckConstraint(
            condition=at_least_0 & (Q(trailing_step__isnull=True) | Q(trailing_step__gt=0)),
            name=f"{name}_stop_rule_range",
            violation_error_message=(
                "Break-even and trailing: distances are 0 or more, the step is above 0, and the"
                f" target is 0 to {MAX_TARGET}."
            ),
        )
    ]


def stop_rule_faults(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each fault of a rule's fields: the field and what to do about it. Pure.

    values: by the names of `RULE_FIELDS`; None or "" where a field is empty.
    """
    target = values.get("break_even_target")
    if target is not None and not 0 <= target <= MAX_TARGET:
        yield "break_even_target", f"It is the number of a target, 1 to {MAX_TARGET}, or 0."
    for name in RULE_DISTANCES:
        if (value := values.get(name)) is not None and value < 0:
            yield name, "It is a distance: 0 or more."
    if values.get("trailing_step") == 0:
        yield "trailing_step", "The step is above 0; leave it empty for one pip."
    yield from _combination_faults(values)


def _combination_faults(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    starts = [values.get(name) for name in ("break_even_target", "break_even_profit")]
    is_off = any(start == 0 for start in starts)
    if is_off and any(starts):
        yield "break_even_profit", "0 switches break-even off; leave the other start empty."
    offset, profit = values.get("break_even_offset"), values.get("break_even_profit")
    if offset is not None and not any(starts):
        yield "break_even_offset", "It needs break_even_target or break_even_profit."
    elif offset is not None and profit and offset >= profit:
        yield "break_even_offset", "It must be below break_even_profit: the price has to be beyond."
    for name in ("trailing_step", "trailing_activation"):
        if values.get(name) is not None and not values.get("trailing_distance"):
            yield name, "It needs a trailing_distance."
    unit = values.get("stop_rule_unit") or ""
    if unit == units.Unit.PERCENT:
        for name in RULE_DISTANCES:
            if (value := values.get(name)) is not None and value >= MAX_PERCENT:
                yield name, "It is percent of the entry price: below 100."
    if unit and not any(values.get(name) is not None for name in RULE_DISTANCES):
        yield "stop_rule_unit", "It is the unit of a distance, and there is none."


def describe_break_even(
    target: int | None, profit: Decimal | None, offset: Decimal | None, unit: str
) -> str:
    """Return a break-even rule for people; empty: there is none. unit: the word for its unit."""
    starts = [f"after target {target}"] if target else []
    if profit:
        starts.append(f"at {plain(profit)} {unit} profit".replace("  ", " "))
    if not starts:
        return ""
    beyond = f", {plain(offset)} {unit} beyond the entry price" if offset else ""
    return f"break-even {' or '.join(starts)}{beyond}"


def describe_trailing(
    distance: Decimal | None, step: Decimal | None, activation: Decimal | None, unit: str
) -> str:
    """Return a trailing rule for people; empty: there is none. unit: the word for its unit."""
    if not distance:
        return ""
    text = f"trails {plain(distance)} {unit} behind the best price"
    text += f" in steps of {plain(step)}" if step else ""
    return text + (f", from a profit of {plain(activation)} on" if activation is not None else "")


def describe_stop_rule(row: Any, unit: str) -> str:
    """Return the rule of a row with `StopRuleFields` for people; empty: there is none."""
    parts = (
        describe_break_even(
            row.break_even_target, row.break_even_profit, row.break_even_offset, unit
        ),
        describe_trailing(row.trailing_distance, row.trailing_step, row.trailing_activation, unit),
    )
    return ", ".join(part for part in parts if part)


def clean_stop_rule(row: models.Model) -> dict[str, list[str]]:
    """Return the faults of a row with `StopRuleFields`, by field, for a form."""
    found: dict[str, list[str]] = {}
    for name, detail in stop_rule_faults({name: getattr(row, name) for name in RULE_FIELDS}):
        found.setdefault(name, []).append(detail)
    return found
