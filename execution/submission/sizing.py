"""Calculate an order's quantity. Pure; Decimal only; quantities in base units.

Quantities are rounded down to the broker's step, so the risk never exceeds the preset's. The
formulas come from docs/sizing.md.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from common.money import floor_to_step, plain
from common.reason_codes import Code
from connections.models import SizingMode
from signals.models import RiskCategory

HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Denial:
    """An order denied by our rules: the code, the value that broke the limit, and the limit."""

    code: Code
    current: Decimal | None = None
    maximum: Decimal | None = None
    detail: str = ""

    def numbers(self) -> dict[str, str]:
        """Return value and limit as JSON-safe text, without those that do not apply."""
        figures = {"current": self.current, "limit": self.maximum}
        return {name: plain(value) for name, value in figures.items() if value is not None}


@dataclass(frozen=True, slots=True)
class QuantityLimits:
    """The quantities that a broker accepts, in base units."""

    minimum: Decimal
    step: Decimal
    maximum: Decimal


@dataclass(frozen=True, slots=True)
class Sizing:
    """The sizing of a preset and a subscription. Percents are numbers such as 1.5."""

    mode: str
    fixed_quantity: Decimal | None
    percent_of_balance: Decimal | None
    fixed_amount: Decimal | None
    risk_percent: Decimal | None
    multiplier: Decimal  # preset x risk category x subscription


class PresetMultipliers(Protocol):
    """The multipliers of a preset: its own, and one for each risk category."""

    @property
    def multiplier(self) -> Decimal: ...
    @property
    def small_multiplier(self) -> Decimal: ...
    @property
    def normal_multiplier(self) -> Decimal: ...
    @property
    def large_multiplier(self) -> Decimal: ...


def multiplier_of(preset: PresetMultipliers, category: str, subscription: Decimal) -> Decimal:
    """Multiply the preset's, the risk category's and the subscription's multipliers."""
    by_category: dict[str, Decimal] = {
        RiskCategory.SMALL: preset.small_multiplier,
        RiskCategory.NORMAL: preset.normal_multiplier,
        RiskCategory.LARGE: preset.large_multiplier,
    }
    return by_category[category] * preset.multiplier * subscription


def loss_per_unit(entry: Decimal, stop: Decimal, side_sign: int, rate: Decimal) -> Decimal:
    """Return what one unit loses from entry to stop, in account currency; <= 0: on the wrong side.

    rate: account currency for one of quote currency.
    """
    return (entry - stop) * side_sign * rate


def size(
    *,
    sizing: Sizing,
    balance: Decimal,
    equity: Decimal,
    price: Decimal,
    rate: Decimal,
    stop_loss_per_unit: Decimal | None,
    limits: QuantityLimits,
) -> Decimal | Denial:
    """Return the quantity to trade, or why there is none.

    balance, equity: account currency. price: quote currency. rate: account currency for one of
    quote currency. stop_loss_per_unit: account currency, None without a stop.
    """
    raw_quantity = _raw_quantity(sizing, balance, equity, price * rate, stop_loss_per_unit)
    if isinstance(raw_quantity, Denial):
        return raw_quantity
    quantity = min(floor_to_step(raw_quantity * sizing.multiplier, limits.step), limits.maximum)
    if quantity < limits.minimum or quantity <= 0:
        return Denial(Code.QUANTITY_BELOW_MINIMUM, max(quantity, Decimal(0)), limits.minimum)
    return quantity


def _raw_quantity(
    sizing: Sizing,
    balance: Decimal,
    equity: Decimal,
    unit_value: Decimal,
    stop_loss_per_unit: Decimal | None,
) -> Decimal | Denial:
    """Return the quantity before multipliers and rounding."""
    match sizing.mode:
        case SizingMode.FIXED:
            return sizing.fixed_quantity or Decimal(0)
        case SizingMode.PERCENT_BALANCE:
            return balance * (sizing.percent_of_balance or Decimal(0)) / HUNDRED / unit_value
        case SizingMode.FIXED_AMOUNT:
            return (sizing.fixed_amount or Decimal(0)) / unit_value
        case _:
            if stop_loss_per_unit is None:
                return Denial(Code.STOP_REQUIRED)
            if stop_loss_per_unit <= 0:
                return Denial(Code.STOP_AT_ENTRY)
            at_risk = equity * (sizing.risk_percent or Decimal(0)) / HUNDRED
            return at_risk / stop_loss_per_unit
