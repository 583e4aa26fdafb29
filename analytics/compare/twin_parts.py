"""Why a live subscription and its paper twin did not make the same: parts that add up. Pure.

A trade is what one account made of one signal. Where both closed theirs, the difference of their
gross results is split at the twin's size:

    at the twin's size = live result × twin's quantity ÷ live quantity
    size               = live result − at the twin's size
    entry + exit       = at the twin's size − twin's result

Each part is a difference of the amounts beside it, so their sum is exact, whatever was rounded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

from common.currencies import money_places
from common.money import to_stored

ZERO = Decimal(0)
PARTS = ("entry", "exit", "size", "costs", "only_live", "only_twin", "open")
"""What a difference consists of.

entry, exit: prices, at the twin's size. size: the live quantity was another. costs: commission,
fees and swap. only_live, only_twin: signals that only one of them traded. open: trades that are not
closed on both, by what is realized so far.
"""


@dataclass(frozen=True, slots=True)
class Trade:
    """What an account made of a signal. gross, costs: account currency; price, rate: of the entry.

    gross: realized so far. is_closed: nothing of it is open.
    """

    sign: int
    quantity: Decimal
    entry_price: Decimal
    rate: Decimal
    gross: Decimal
    costs: Decimal
    is_closed: bool

    @property
    def net(self) -> Decimal:
        """The result after costs."""
        return self.gross - self.costs


def parts_of(live: Trade | None, twin: Trade | None) -> dict[str, Decimal]:
    """Return the difference live − twin of one signal by part; those that are 0 are left out."""
    found: dict[str, Decimal]
    if live is None or twin is None:
        found = {"only_live": live.net if live else ZERO, "only_twin": -twin.net if twin else ZERO}
    elif not (live.is_closed and twin.is_closed) or not live.quantity:
        found = {"open": live.net - twin.net}
    else:
        at_twins_size = to_stored(live.gross * twin.quantity / live.quantity)
        prices = at_twins_size - twin.gross
        entry = to_stored(
            (twin.entry_price - live.entry_price) * live.sign * twin.quantity * live.rate
        )
        found = {
            "entry": entry,
            "exit": prices - entry,
            "size": live.gross - at_twins_size,
            "costs": twin.costs - live.costs,
        }
    return {name: value for name, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Difference:
    """Net results and their difference by part, rounded to the currency: parts add up to total."""

    live: Decimal
    twin: Decimal
    parts: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def total(self) -> Decimal:
        """What the live account made more."""
        return self.live - self.twin


def difference_of(pairs: Iterable[tuple[Trade | None, Trade | None]], currency: str) -> Difference:
    """Return the difference over all signals. currency: the smallest unit to round to."""
    live = twin = ZERO
    exact = dict.fromkeys(PARTS, ZERO)
    for mine, its in pairs:
        live += mine.net if mine else ZERO
        twin += its.net if its else ZERO
        for name, value in parts_of(mine, its).items():
            exact[name] += value
    unit = Decimal(1).scaleb(-money_places(currency))
    made, made_by_twin = (value.quantize(unit, ROUND_HALF_EVEN) for value in (live, twin))
    return Difference(made, made_by_twin, _rounded(exact, made - made_by_twin, unit))


def _rounded(exact: Mapping[str, Decimal], total: Decimal, unit: Decimal) -> dict[str, Decimal]:
    """Return all parts in whole units whose sum is `total`.

    What rounding leaves over goes to the parts that it took most from, a unit each.
    """
    rounded = {name: value.quantize(unit, ROUND_HALF_EVEN) for name, value in exact.items()}
    left = total - sum(rounded.values(), ZERO)
    step = unit if left > 0 else -unit
    by_loss = sorted(exact, key=lambda name: (rounded[name] - exact[name]) * step)
    used = [name for name in by_loss if exact[name]] or by_loss
    while left:
        for name in used:
            if not left:
                break
            rounded[name] += step
            left -= step
    return rounded
