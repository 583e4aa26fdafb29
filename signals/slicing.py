"""How a signal's entry is spread over time: the columns of a signal, and the rules between them."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import models
from django.db.models import Q

from common.fields import AmountField, ChoiceField
from common.reason_codes import Code
from signals.field_error import FieldError

MIN_SLICE_SECONDS = 10
MAX_DURATION_SECONDS = 86_400
MIN_SLICES, MAX_SLICES = 2, 100
MAX_VARIATION = 50  # percent


class ExecutionStyle(models.TextChoices):
    """How an entry is sent. Empty: as one order."""

    TWAP = "TWAP", "TWAP: equal parts over time"
    VWAP = "VWAP", "VWAP: parts by the usual volume of each time"


class CatchUp(models.TextChoices):
    """What becomes of a slice that was not sent, or not filled."""

    CATCH_UP = "CATCH_UP", "The next slices send it too"
    SKIP = "SKIP", "It is left out"


class AtEnd(models.TextChoices):
    """What becomes of what is left at the end of the duration."""

    LEAVE = "LEAVE", "It is left out"
    MARKET = "MARKET", "It is sent at market"


class SlicedEntry(models.Model):
    """The columns of a signal that spread its entry over time. All empty: one order."""

    execution_style = ChoiceField(
        max_length=4, choices=ExecutionStyle, blank=True, default="", db_default="",
        help_text="Empty: one order. TWAP and VWAP send the entry in slices over the duration.",
    )  # fmt: skip
    duration_seconds = models.PositiveIntegerField(
        "duration", null=True, blank=True,
        help_text="Seconds from the first slice to the end, at most a day.",
    )  # fmt: skip
    slice_count = models.PositiveSmallIntegerField(
        "slices", null=True, blank=True,
        help_text=f"{MIN_SLICES} to {MAX_SLICES}, at least {MIN_SLICE_SECONDS} seconds apart.",
    )  # fmt: skip
    slice_variation = AmountField(
        null=True, blank=True,
        help_text="Percent by which sizes and times of slices vary at random; 0 to"
        f" {MAX_VARIATION}.",
    )  # fmt: skip
    price_limit = AmountField(
        null=True, blank=True, help_text="No slice is sent while the market is beyond this price."
    )
    catch_up = ChoiceField(
        max_length=8, choices=CatchUp, blank=True, default="", db_default="",
        help_text="What becomes of a slice that was not sent. Empty: the next slices send it too.",
    )  # fmt: skip
    at_end = ChoiceField(
        max_length=6, choices=AtEnd, blank=True, default="", db_default="",
        help_text="What becomes of what is left at the end. Empty: it is left out.",
    )  # fmt: skip

    class Meta:
        abstract = True


STYLE_FIELDS = (
    "execution_style", "duration_seconds", "slice_count", "slice_variation", "price_limit",
    "catch_up", "at_end",
)  # fmt: skip
SLICING_CONSTRAINTS = (
    models.CheckConstraint(
        condition=Q(
            execution_style="", duration_seconds__isnull=True, slice_count__isnull=True,
            slice_variation__isnull=True, catch_up="", at_end="",
        )
        & (Q(price_limit__isnull=True) | Q(action="MODIFY"))
        | Q(
            ~Q(execution_style=""), action="OPEN", order_type="MARKET", time_in_force="GTC",
            duration_seconds__isnull=False, duration_seconds__gt=0,
            duration_seconds__lte=MAX_DURATION_SECONDS, slice_count__isnull=False,
            slice_count__gte=MIN_SLICES, slice_count__lte=MAX_SLICES,
        ),
        name="style_is_complete",
        violation_error_message="Slices need OPEN, MARKET, GTC, a duration and their number.",
    ),
    models.CheckConstraint(
        condition=(
            Q(slice_variation__isnull=True)
            | Q(slice_variation__gte=0, slice_variation__lte=MAX_VARIATION)
        )
        & (Q(price_limit__isnull=True) | Q(price_limit__gt=0)),
        name="style_in_range",
        violation_error_message=(
            f"Variation is 0 to {MAX_VARIATION} percent; the price limit is above 0."
        ),
    ),
)  # fmt: skip


def style_errors(values: Mapping[str, Any], *, now: datetime | None = None) -> Iterator[FieldError]:
    """Yield what is wrong with an execution style. Pure.

    values: STYLE_FIELDS, action, order_type, time_in_force, direction, sl, close_after_seconds, and
    valid_for in seconds or valid_until; missing ones are not set. now: the market's time, to
    compare valid_until with.
    """
    style = values.get("execution_style")
    if not style:
        for name in STYLE_FIELDS[1:]:
            if values.get(name) not in (None, ""):
                detail = f"{name} is for an entry in slices: send execution_style TWAP or VWAP too."
                yield _invalid(name, detail)
        return
    if values.get("action") != "OPEN":
        yield _invalid("execution_style", "execution_style is only for OPEN.")
        return
    yield from _order_errors(values, style)
    yield from _slice_errors(values, style)
    yield from _limit_errors(values)
    yield from _validity_errors(values, now)


def new_limit_errors(
    style: str, direction: str, limit: Decimal | None, sl: Decimal | None
) -> Iterator[FieldError]:
    """Yield what is wrong with the price limit of a MODIFY. Pure.

    style, direction: of the entry that it changes. sl: the stop that it has then, if any.
    """
    if limit is not None and not style:
        detail = "The entry is not sent in slices, so it has no price_limit to change."
        yield _invalid("price_limit", detail)
        return
    yield from _limit_errors({"price_limit": limit, "sl": sl, "direction": direction})


def _invalid(name: str, detail: str) -> FieldError:
    return FieldError(Code.FIELD_INVALID, name, detail)


def _order_errors(values: Mapping[str, Any], style: str) -> Iterator[FieldError]:
    order_type = values.get("order_type") or "MARKET"
    if order_type != "MARKET":
        detail = (
            f"{style} sends market orders, so it cannot be combined with {order_type}. Leave "
            "order_type out; price_limit bounds the price of every slice."
        )
        yield _invalid("order_type", detail)
    if (values.get("time_in_force") or "GTC") != "GTC":
        detail = f"Every slice of a {style} is sent at once. Leave time_in_force out."
        yield _invalid("time_in_force", detail)


def _slice_errors(values: Mapping[str, Any], style: str) -> Iterator[FieldError]:
    duration, slices = values.get("duration_seconds"), values.get("slice_count")
    if duration is None:
        detail = f"A {style} needs duration_seconds, for example 1800."
        yield FieldError(Code.FIELD_REQUIRED, "duration_seconds", detail)
    elif duration > MAX_DURATION_SECONDS:
        detail = f"At most {MAX_DURATION_SECONDS} seconds, which is a day."
        yield _invalid("duration_seconds", detail)
    if slices is None:
        detail = f"A {style} needs slice_count, {MIN_SLICES} to {MAX_SLICES}."
        yield FieldError(Code.FIELD_REQUIRED, "slice_count", detail)
    elif not MIN_SLICES <= slices <= MAX_SLICES:
        yield _invalid("slice_count", f"{slices} is not {MIN_SLICES} to {MAX_SLICES} slices.")
    elif duration is not None and duration < slices * MIN_SLICE_SECONDS:
        detail = (
            f"{duration} s are too short for {slices} slices, which are at least "
            f"{MIN_SLICE_SECONDS} s apart. Send at least {slices * MIN_SLICE_SECONDS}, or "
            "fewer slices."
        )
        yield _invalid("duration_seconds", detail)
    variation = values.get("slice_variation")
    if variation is not None and not 0 <= variation <= MAX_VARIATION:
        yield _invalid("slice_variation", f"{variation} is not 0 to {MAX_VARIATION} percent.")


def _limit_errors(values: Mapping[str, Any]) -> Iterator[FieldError]:
    limit, sl, direction = (values.get(name) for name in ("price_limit", "sl", "direction"))
    if limit is not None and limit <= 0:
        yield _invalid("price_limit", "It must be above 0.")
    elif limit is not None and sl is not None and direction:
        sign = 1 if direction == "BUY" else -1
        if (limit - sl) * sign <= 0:
            side = "above" if sign > 0 else "below"
            detail = f"For a {direction.lower()} it must lie {side} the stop {sl}."
            yield _invalid("price_limit", detail)


def _validity_errors(values: Mapping[str, Any], now: datetime | None) -> Iterator[FieldError]:
    duration, seconds, until = (
        values.get(name) for name in ("duration_seconds", "valid_for", "valid_until")
    )
    field = "valid_for"
    if seconds is None and until is not None and now is not None:
        field, seconds = "valid_until", (until - now).total_seconds()
    if duration is not None and seconds is not None and seconds < duration:
        detail = (
            f"It ends before the {duration} s of the slices, and nothing is sent after it. "
            "Leave it out, or make it longer."
        )
        yield _invalid(field, detail)
    close_after = values.get("close_after_seconds")
    if duration is not None and close_after is not None and close_after < duration:
        detail = (
            f"It would close the position during the {duration} s of the slices, which still open "
            "it. Make it at least as long."
        )
        yield _invalid("close_after_seconds", detail)
