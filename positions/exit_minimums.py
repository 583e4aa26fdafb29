"""Which positions their exchange would take nothing of: too small, or worth too little."""

from decimal import Decimal
from typing import Any

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


def sellable(quantity: Decimal, price: Decimal, instrument: Any | None) -> Decimal:
    """Return how much of a quantity can be sold; 0: nothing. Pure.

    price: quote currency. Where the instrument knows no least, all of it.
    """
    if instrument is None or instrument.close_min <= 0:
        return quantity
    whole = floor_to_step(quantity, instrument.quantity_step)
    too_small = whole < instrument.close_min or whole * price < instrument.close_worth_min
    return Decimal(0) if too_small else whole


def is_dust(quantity: Decimal, opened: Decimal, step: Decimal) -> bool:
    """Whether so little is left as fees and our own exits leave of a position: below two steps, or
    a hundredth of what was opened. Only that is ever closed in the books. Pure."""
    return quantity < max(DUST_STEPS * step, opened * DUST_SHARE)


BROKER_QUANTITY_SQL = """CASE WHEN p.broker_checked_at > p.last_activity_at
  AND NOT p.broker_quantity_is_shared
  THEN least(p.quantity, p.broker_quantity) ELSE p.quantity END"""
"""What there is of a position p to be sold: no more than its broker was last read to hold. Where
others share that, the rest may still be the position's: its exits wait."""


def unsellable_sql(price: str) -> str:
    """The same as `sellable` of a position p and its instrument i, as SQL: nothing can be sold.

    price: an expression, the position's closing price now.
    """
    whole = f"trunc({BROKER_QUANTITY_SQL} / i.quantity_step) * i.quantity_step"
    return (
        f"(i.close_min > 0 AND ({whole} < i.close_min"
        f" OR {whole} * coalesce({price}, p.entry_price) < i.close_worth_min))"
    )


def dust_sql() -> str:
    """The same as `is_dust`, as SQL."""
    return (
        f"p.quantity < greatest({DUST_STEPS} * i.quantity_step, p.opened_quantity * {DUST_SHARE})"
    )


def exit_blocker() -> Case:
    """Return, as an expression of positions that have a `current_price` and `broker_quantity`, the
    code of why no exit can be sent now; '' if one can. Dust has none: it is about to be closed in
    the books."""
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


def broker_quantity() -> Case:
    """The same as `BROKER_QUANTITY_SQL`, as an expression of positions."""
    is_known = Q(broker_checked_at__gt=F("last_activity_at"), broker_quantity_is_shared=False)
    return Case(
        When(is_known, then=Least(F("quantity"), F("broker_quantity"))),
        default=F("quantity"),
        output_field=AmountField(),
    )


def _amount(expression: Any) -> Expression:
    return ExpressionWrapper(expression, output_field=AmountField())
