"""What an open position makes and how far its levels are, for pages and the API. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from common.money import divide
from common.units import Unit, size_of
from positions.levels import target_fraction
from positions.models import ExecutionPosition
from signals.effective_levels import Targets
from signals.symbols import slippage_unit


@dataclass(frozen=True, slots=True)
class LevelFigures:
    """A level of an open position. distance: from the price to it, in the unit of the symbol, and
    negative once the price has passed it; None: no price. result: what closing all that is open
    there would make, account currency, before commission. in_r: the same in R, if R is known."""

    price: Decimal
    distance: Decimal | None
    result: Decimal
    in_r: Decimal | None


@dataclass(frozen=True, slots=True)
class PositionFigures:
    """The figures of a position at a price. first_stop: its entry's stop; None: it had none.
    currency: of its account; empty: not known.

    1 R is the distance from the entry price to that first stop, however the stop moves later.
    """

    position: ExecutionPosition
    price: Decimal | None
    first_stop: Decimal | None
    currency: str

    @property
    def unit(self) -> Unit:
        """The unit of distances: pips for currencies and metals, else basis points."""
        return slippage_unit(self.position.pair)

    @property
    def moved(self) -> Decimal | None:
        """How far the price is from the entry price, in `unit`; + is a gain."""
        return None if self.price is None else self.in_units(self._gain(self.price))

    @property
    def in_r(self) -> Decimal | None:
        """What one unit of it makes at the price, in R; None: no price, or no first stop."""
        return None if self.price is None else self.r_of(self.price)

    def r_of(self, price: Decimal) -> Decimal | None:
        """Return the gain at a price in R; None: the entry had no stop that limits a loss."""
        if self.first_stop is None:
            return None
        risked = -self._gain(self.first_stop)
        return divide(self._gain(price), risked) if risked > 0 else None

    def level(self, price: Decimal, *, is_stop: bool) -> LevelFigures:
        """Return how far a stop or a target is, and what it would make."""
        distance = None
        if self.price is not None:
            apart = (self.price - price) * self.position.broker_side.sign
            distance = self.in_units(apart if is_stop else -apart)
        result = self._gain(price) * self.position.quantity
        if price > 0 and self.currency == self.position.pair.partition("/")[0]:
            result = divide(result, price)  # as it will be booked: the entry's rate is old
        else:
            result *= self.position.conversion_rate
        return LevelFigures(price, distance, result, self.r_of(price))

    def in_units(self, distance: Decimal) -> Decimal:
        """Return a distance in the quote currency in `unit`."""
        position = self.position
        price = self.price or position.entry_price
        return divide(
            distance, size_of(self.unit, price=price, pip=position.pip, tick=position.pip)
        )

    def _gain(self, price: Decimal) -> Decimal:
        gain: Decimal = (price - self.position.entry_price) * self.position.broker_side.sign
        return gain


class OpenTarget(NamedTuple):
    """A target of an open position, numbered from 1 on. fraction: of what was opened; None: it
    closes all that is left."""

    number: int
    price: Decimal
    fraction: Decimal | None


def open_targets(position: ExecutionPosition, targets: Targets) -> list[OpenTarget]:
    """Return the next target and the later ones of its signal. Empty: it has no target.

    targets: those that the signal has now. What is left after the last one was reached keeps it as
    its next, unless it was the last target of that part alone.
    """
    if position.tp is None:
        return []
    next_one, count = position.tp_number, len(targets.prices)
    own = OpenTarget(
        min(next_one, max(count, 1)), position.tp, target_fraction(targets.fractions, next_one)
    )
    later = enumerate(targets.prices[next_one:], next_one + 1)
    return [own, *(OpenTarget(n, at, target_fraction(targets.fractions, n)) for n, at in later)]
