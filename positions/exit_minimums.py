"""Exchanges' minimums for exits: what can be sold of a position, and what is dust."""

from decimal import Decimal
from typing import Protocol

from common.money import floor_to_step
from common.reason_codes import Code
from connections.selectors import LISTED_INSTRUMENTS_SQL

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
    @property
    def quantity_max(self) -> Decimal: ...


def sellable(quantity: Decimal, price: Decimal, instrument: ExitMinimum | None) -> Decimal:
    """Return how much of a quantity can be sold, 0 if nothing. Base units. Pure.

    price: quote currency. Without an instrument or a minimum, all of it.
    """
    if instrument is None or instrument.close_min <= 0:
        return quantity
    whole = floor_to_step(quantity, instrument.quantity_step)
    too_small = whole < instrument.close_min or whole * price < instrument.close_worth_min
    return Decimal(0) if too_small else whole


def one_order(quantity: Decimal, instrument: ExitMinimum | None) -> Decimal:
    """Return how much of an exit that its broker has refused for its size one order may close, by
    what the broker lists: whole steps, 0 if it is less than one. Base units. Pure."""
    if instrument is None:
        return quantity
    return floor_to_step(min(quantity, instrument.quantity_max), instrument.quantity_step)


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
    """Return SQL for: nothing can be sold of a position p with instrument i, as in `sellable`; or
    it is less than a step, where no minimum is listed and the broker may take it nevertheless.

    price: an expression, the position's closing price now.
    """
    whole = f"trunc({BROKER_QUANTITY_SQL} / i.quantity_step) * i.quantity_step"
    return (
        f"CASE WHEN i.close_min > 0 THEN {whole} < i.close_min"
        f" OR {whole} * coalesce({price}, p.entry_price) < i.close_worth_min"
        f" ELSE p.quantity < i.quantity_step END"
    )


def dust_sql() -> str:
    """Return `is_dust` of a position p with instrument i, as SQL."""
    return (
        f"p.quantity < greatest({DUST_STEPS} * i.quantity_step, p.opened_quantity * {DUST_SHARE})"
    )


def exit_blocker_sql(price: str) -> str:
    """Return SQL of why no exit of a position p can be sent now: a reason code, '' if one can be.

    price: as for `unsellable_sql`. Dust that will be closed in the books has no blocker.
    """
    return f"""CASE WHEN p.quantity > 0 AND EXISTS (SELECT FROM {LISTED_INSTRUMENTS_SQL}
  WHERE c.id = p.connection_id AND i.symbol = p.symbol AND {unsellable_sql(price)}
    AND NOT (i.close_min > 0 AND {dust_sql()}))
  THEN '{Code.EXIT_BELOW_MINIMUM.value}' ELSE '' END"""
