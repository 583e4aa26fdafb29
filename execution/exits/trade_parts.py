"""Divide the partial close of a trade between its tickets. Pure.

On a hedging account each slice of an entry has a position of its own. A part of the trade is taken
from the oldest ones first: half of each would often be below the broker's minimum, and then all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A position of the trade, in base units. free: open and not reserved by other exits."""

    id: int
    free: Decimal


def allot_part(
    tickets: Sequence[Ticket], part: Decimal, *, smallest: Decimal
) -> dict[int, Decimal]:
    """Return what is taken of each ticket, in their order; those that are left out are not closed.

    part: what is closed of them together. smallest: what a close must take and must leave of a
    ticket at least. The sum is the part, or the nearest that the smallest quantity allows.
    """
    taken: dict[int, Decimal] = {}
    left = part
    for ticket in tickets:
        quantity = _of_ticket(ticket.free, left, smallest)
        if quantity > 0:
            taken[ticket.id] = quantity
            left -= quantity
    return taken


def _of_ticket(free: Decimal, left: Decimal, smallest: Decimal) -> Decimal:
    if left >= free:
        return free
    if left >= smallest and free - left >= smallest:
        return left
    return free if left > 0 and 2 * left >= free else ZERO
