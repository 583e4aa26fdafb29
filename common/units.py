"""Units of distances between prices: pips, ticks, basis points or percent. Pure.

Currencies and metals use pips. Assets without a pip (coins, shares, indices) use basis points of
the price: 1 is 0.01 %.
"""

from decimal import Decimal
from enum import StrEnum

from common.money import divide


class Unit(StrEnum):
    """A unit of a distance between prices."""

    PIPS = "PIPS"
    TICKS = "TICKS"
    BASIS_POINTS = "BPS"
    PERCENT = "PERCENT"

    @property
    def word(self) -> str:
        """The unit's name for people."""
        return UNIT_LABELS[self]


UNIT_LABELS = {
    Unit.PIPS: "pips",
    Unit.TICKS: "ticks",
    Unit.BASIS_POINTS: "basis points",
    Unit.PERCENT: "percent",
}
CHOICES = [(unit.value, unit.word.capitalize()) for unit in Unit]
UNITS = {unit.value: unit for unit in Unit}


class AssetClass(StrEnum):
    """The asset class of a symbol."""

    FX = "FX"
    METAL = "METAL"
    CRYPTO = "CRYPTO"
    OTHER = "OTHER"  # shares, funds, indices, energies


def default_unit(asset_class: AssetClass) -> Unit:
    """Return the unit of a threshold that has none."""
    has_pips = asset_class in (AssetClass.FX, AssetClass.METAL)
    return Unit.PIPS if has_pips else Unit.BASIS_POINTS


def size_of(unit: Unit, *, price: Decimal, pip: Decimal, tick: Decimal) -> Decimal:
    """Return the distance in price of one unit at this price."""
    match unit:
        case Unit.PIPS:
            return pip
        case Unit.TICKS:
            return tick
        case Unit.BASIS_POINTS:
            return divide(price, Decimal(10_000))
        case Unit.PERCENT:
            return divide(price, Decimal(100))


def unit_label(unit: str) -> str:
    """Return the name of a stored unit; older measurements have none and are in pips."""
    return UNITS.get(unit, Unit.PIPS).word
