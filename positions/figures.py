"""What an open position makes and how far its levels are, for pages and the API. Pure."""

from dataclasses import dataclass
from decimal import Decimal

from common.money import divide
from common.units import Unit, size_of
from positions.models import ExecutionPosition
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

    1 R is the distance from the entry price to that first stop, however the stop moves later.
    """

    position: ExecutionPosition
    price: Decimal | None
    first_stop: Decimal | None

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
        result = self._gain(price) * self.position.quantity * self.position.conversion_rate
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


def open_targets(position: ExecutionPosition) -> list[tuple[int, Decimal]]:
    """Return the next target and the later ones of its signal, each with its number from 1 on.

    The last one stays the next after it was reached, while a part of the position is open. Empty:
    it has no target. Reads the position's signal.
    """
    if position.tp is None:
        return []
    prices = list(enumerate(position.signal.target_prices or [], 1))
    number = min(position.tp_number, max(len(prices), 1))
    return [(number, position.tp), *prices[number:]]
