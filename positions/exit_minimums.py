"""Exchanges' minimums for exits: what can be sold of a position, and what is dust."""

from decimal import Decimal
from typing import Any, Protocol

from django.db.models import (
    Case,
    CharField,
    Exists,
    Expression,
    ExpressionWrapper,
    F,
    Func,
    OuterRef,
    Q,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Least

from common.fields import AmountField
from common.money import floor_to_step
from common.reason_codes import Code
from connections.models import Instrument

DUST_STEPS = 2
DUST_SHARE = Decimal("0.01")  # of what was opened


class ExitMinimum(Protocol):
    """What an exchange requires of an exit: base units, and quote currency for the value."""

    @property
    def close_min(self) -> Decimal: ...
    @property
    def close_worth_min(self) -> Decimal: ...
    @property
    def quantity_step(self) -> Decimal: ...


def sellable(quantity: Decimal, price: Decimal, instrument: ExitMinimum | None) -> Decimal:
    """Return how much of a quantity can be sold, 0 if nothing. Base units. Pure.

    price: quote currency. Without an instrument or a minimum, all of it.
    """
    if instrument is None or instrument.close_min <= 0:
        return quantity
    whole = floor_to_step(quantity, instrument.quantity_step)
    too_small = whole < instrument.close_min or whole * price < instrument.close_worth_min
    return Decimal(0) if too_small else whole


def is_dust(quantity: Decimal, opened: Decimal, step: Decimal) -> bool:
    """Return whether a quantity is dust, as fees and our own exits may leave it. Pure.

    Dust is below two steps or 1 % of the opened quantity. Only dust is ever closed in the books.
    """
    return quantity < max(DUST_STEPS * step, opened * DUST_SHARE)


BROKER_QUANTITY_SQL = """CASE WHEN p.broker_checked_at > p.last_activity_at
  AND NOT p.broker_quantity_is_shared
  THEN least(p.quantity, p.broker_quantity) ELSE p.quantity END"""
"""What can be sold of a position p: no more than the broker held at the last read. If several
positions share the broker's quantity, the rest may still belong to this one, so its exits wait."""


def unsellable_sql(price: str) -> str:
    """Return SQL for: nothing can be sold of a position p with instrument i, as in `sellable`.

    price: an expression, the position's closing price now.
    """
    whole = f"trunc({BROKER_QUANTITY_SQL} / i.quantity_step) * i.quantity_step"
    return (
        f"(i.close_min > 0 AND ({whole} < i.close_min"
        f" OR {whole} * coalesce({price}, p.entry_price) < i.close_worth_min))"
    )


def dust_sql() -> str:
    """Return `is_dust` of a position p with instrument i, as SQL."""
    return (
        f"p.quantity < greatest({DUST_STEPS} * i.quantity_step, p.opened_quantity * {DUST_SHARE})"
    )


def exit_blocker_expression() -> Case:
    """Return an expression for why no exit can be sent now: a reason code, '' if one can be sent.

    For positions annotated with `current_price` and `held_now` (`broker_quantity_expression`). Dust
    has no blocker, because it will be closed in the books.
    """
    whole = _amount(
        Func(OuterRef("held_now") / F("quantity_step"), function="trunc") * F("quantity_step")
    )
    worth = _amount(F("whole") * Coalesce(OuterRef("current_price"), OuterRef("entry_price")))
    instruments = Instrument.objects.filter(
        book=OuterRef("connection__instrument_book"), symbol=OuterRef("symbol"), close_min__gt=0
    )
    unsellable = instruments.annotate(whole=whole, worth=worth).filter(
        Q(whole__lt=F("close_min")) | Q(worth__lt=F("close_worth_min")),
        quantity_step__lte=_amount(OuterRef("quantity") / DUST_STEPS),
    )
    is_open = Q(quantity__gt=0, quantity__gte=_amount(F("opened_quantity") * DUST_SHARE))
    blocked = When(is_open & Exists(unsellable), then=Value(Code.EXIT_BELOW_MINIMUM.value))
    return Case(blocked, default=Value(""), output_field=CharField())


def broker_quantity_expression() -> Case:
    """Return `BROKER_QUANTITY_SQL` as an expression of positions."""
    is_known = Q(broker_checked_at__gt=F("last_activity_at"), broker_quantity_is_shared=False)
    return Case(
        When(is_known, then=Least(F("quantity"), F("broker_quantity"))),
        default=F("quantity"),
        output_field=AmountField(),
    )


def _amount(expression: Any) -> Expression:
    return ExpressionWrapper(expression, output_field=AmountField())
