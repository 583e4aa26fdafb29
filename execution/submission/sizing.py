"""Calculate an order's quantity. Pure; Decimal only; quantities in base units.

Quantities are rounded down to the broker's step, so the risk never exceeds the preset's; only a
preset that allows it raises a quantity to the broker's minimum. The formulas come from
docs/sizing.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple, Protocol

from common.figure_names import ACCOUNT_CURRENCY, BASE_UNIT, Limit
from common.limit_figures import Figures
from common.money import ceil_to_step, floor_to_step, plain, significant, to_stored
from common.reason_codes import Code
from common.web.formatting import units_of
from connections.models import SizingMode
from signals.models import RiskCategory

HUNDRED = Decimal(100)
ZERO = Decimal(0)
ONE = Decimal(1)
MAX_UNROUNDED = Decimal(10) ** 19  # what a column can store; a tiny loss per unit gives more


@dataclass(frozen=True, slots=True)
class Denial:
    """An order denied by our rules: the code, the value that broke the limit, and the limit.

    maximum: the bound, whichever it is: `limit` states that, if not the code's `figures`.
    text_value, allowed: the same for what has no numbers. unrounded: the calculated quantity of an
    entry below its broker's minimum.
    """

    code: Code
    value: Decimal | None = None
    maximum: Decimal | None = None
    detail: str = ""
    unrounded: Decimal | None = None
    limit: Limit | None = None
    text_value: str = ""
    allowed: str = ""

    def figures(self, pair: str, currency: str) -> Figures | None:
        """Return name, value and bound, None without any. pair, currency: for their units."""
        value, bound = plain(self.value) or self.text_value, plain(self.maximum) or self.allowed
        limit = self.limit or self.code.figures
        if limit is None or not (value or bound):
            return None
        units = {BASE_UNIT: units_of(pair), ACCOUNT_CURRENCY: currency}
        unit = units.get(limit.unit, limit.unit)
        return Figures(limit.name, value, limit.bound, bound, unit, limit.word)

    def numbers(self, pair: str, currency: str) -> dict[str, str]:
        """Return the figures as they are stored, empty without any."""
        found = self.figures(pair, currency)
        return found.as_json() if found else {}


class QuantityLimits(NamedTuple):
    """The quantities that a broker accepts, in base units."""

    minimum: Decimal
    step: Decimal
    maximum: Decimal


class Sizing(NamedTuple):
    """The sizing of a preset and a subscription. Percents are numbers such as 1.5.

    risk_percent: of the signal's risk category in the mode RISK_CATEGORY. multiplier: preset x risk
    category x subscription.
    """

    mode: str
    multiplier: Decimal
    fixed_quantity: Decimal | None = None  # base units
    per_balance: Decimal | None = None  # account currency
    percent_of_balance: Decimal | None = None
    percent_of_equity: Decimal | None = None
    fixed_amount: Decimal | None = None  # account currency
    risk_amount: Decimal | None = None  # account currency
    risk_percent: Decimal | None = None
    allow_minimum: bool = False


class Account(NamedTuple):
    """The account that an entry is sized for. Account currency."""

    balance: Decimal
    equity: Decimal


class ProviderFigures(NamedTuple):
    """What the provider traded: base units, and its equity in the account's currency."""

    quantity: Decimal | None = None
    equity: Decimal | None = None


# The fields of a signal that a mode needs, by name.
PROVIDER_FIELDS: Mapping[str, tuple[str, ...]] = {
    SizingMode.PROVIDER_MULTIPLE: ("provider_quantity",),
    SizingMode.EQUITY_RATIO: ("provider_quantity", "provider_equity", "provider_currency"),
}
NO_FIGURES = ProviderFigures()


class Size(NamedTuple):
    """A quantity to trade, in base units.

    unrounded: before the broker's step, minimum and maximum. is_minimum: it is the broker's
    minimum, above what was calculated.
    """

    quantity: Decimal
    unrounded: Decimal
    is_minimum: bool = False


class PresetMultipliers(Protocol):
    """The multipliers of a preset: its own, and one for each risk category."""

    @property
    def sizing_mode(self) -> str: ...
    @property
    def multiplier(self) -> Decimal: ...
    @property
    def small_multiplier(self) -> Decimal: ...
    @property
    def normal_multiplier(self) -> Decimal: ...
    @property
    def large_multiplier(self) -> Decimal: ...


def multiplier_of(preset: PresetMultipliers, category: str, subscription: Decimal) -> Decimal:
    """Multiply the preset's, the risk category's and the subscription's multipliers.

    The risk category's is left out if the category selects the risk percent.
    """
    if preset.sizing_mode == SizingMode.RISK_CATEGORY:
        return preset.multiplier * subscription
    by_category: dict[str, Decimal] = {
        RiskCategory.SMALL: preset.small_multiplier,
        RiskCategory.NORMAL: preset.normal_multiplier,
        RiskCategory.LARGE: preset.large_multiplier,
    }
    return by_category[category] * preset.multiplier * subscription


class PresetRisks(Protocol):
    """The risk percents of a preset: its own, and one for each risk category."""

    @property
    def sizing_mode(self) -> str: ...
    @property
    def risk_percent(self) -> Decimal | None: ...
    @property
    def small_risk_percent(self) -> Decimal: ...
    @property
    def normal_risk_percent(self) -> Decimal: ...
    @property
    def large_risk_percent(self) -> Decimal: ...


def risk_percent_of(preset: PresetRisks, category: str) -> Decimal | None:
    """Return the preset's risk percent: in RISK_CATEGORY, that of the signal's category."""
    if preset.sizing_mode != SizingMode.RISK_CATEGORY:
        return preset.risk_percent
    by_category: dict[str, Decimal] = {
        RiskCategory.SMALL: preset.small_risk_percent,
        RiskCategory.NORMAL: preset.normal_risk_percent,
        RiskCategory.LARGE: preset.large_risk_percent,
    }
    return by_category[category]


def loss_per_unit(entry: Decimal, stop: Decimal, side_sign: int, rate: Decimal) -> Decimal:
    """Return what one unit loses from entry to stop, in account currency; <= 0: on the wrong side.

    rate: account currency for one of quote currency.
    """
    return (entry - stop) * side_sign * rate


def size(
    *,
    sizing: Sizing,
    account: Account,
    unit_value: Decimal,
    stop_loss_per_unit: Decimal | None,
    limits: QuantityLimits,
    provider: ProviderFigures = NO_FIGURES,
) -> Size | Denial:
    """Return the size to trade, or why there is none.

    unit_value: account currency for one base unit at the expected price. stop_loss_per_unit:
    account currency, None without a stop. It is rounded down to the step, and below the minimum
    only raised if the preset allows it: the caller then checks the limits of that larger quantity.
    """
    raw_quantity = _raw_quantity(sizing, account, unit_value, stop_loss_per_unit, provider)
    if isinstance(raw_quantity, Denial):
        return raw_quantity
    # Bounded first: the quotient of a huge quantity and a small step has too many digits.
    wanted = min(raw_quantity * sizing.multiplier, MAX_UNROUNDED)
    quantity = floor_to_step(max(min(wanted, limits.maximum), ZERO), limits.step)
    unrounded = to_stored(max(wanted, ZERO))
    if quantity >= limits.minimum and quantity > 0:
        return Size(quantity, unrounded)
    minimum = ceil_to_step(limits.minimum, limits.step)
    if sizing.allow_minimum and wanted > 0 and 0 < minimum <= limits.maximum:
        return Size(minimum, unrounded, is_minimum=True)
    # The least that can be sent is a whole step, also without a minimum; nothing above the maximum
    # counts. So what is shown is below what is shown as the minimum.
    least = minimum or limits.step
    shown = significant(max(min(wanted, limits.maximum), ZERO), rounding=ROUND_DOWN)
    return Denial(Code.QUANTITY_BELOW_MINIMUM, shown, least, unrounded=unrounded)


def _raw_quantity(
    sizing: Sizing,
    account: Account,
    unit_value: Decimal,
    stop_loss_per_unit: Decimal | None,
    provider: ProviderFigures,
) -> Decimal | Denial:
    """Return the quantity before multipliers and rounding."""
    match sizing.mode:
        case SizingMode.FIXED:
            return sizing.fixed_quantity or ZERO
        case SizingMode.PER_BALANCE:
            if not sizing.per_balance:
                return ZERO
            return (sizing.fixed_quantity or ZERO) * account.balance / sizing.per_balance
        case SizingMode.PERCENT_BALANCE:
            return account.balance * (sizing.percent_of_balance or ZERO) / HUNDRED / unit_value
        case SizingMode.PERCENT_EQUITY:
            return account.equity * (sizing.percent_of_equity or ZERO) / HUNDRED / unit_value
        case SizingMode.FIXED_AMOUNT:
            return (sizing.fixed_amount or ZERO) / unit_value
        case SizingMode.PROVIDER_MULTIPLE | SizingMode.EQUITY_RATIO:
            return _provider_quantity(sizing.mode, account, provider)
        case SizingMode.RISK_AMOUNT:
            return _by_risk(sizing.risk_amount or ZERO, stop_loss_per_unit)
        case _:  # RISK_PERCENT and RISK_CATEGORY differ in the percent only
            at_risk = account.equity * (sizing.risk_percent or ZERO) / HUNDRED
            return _by_risk(at_risk, stop_loss_per_unit)


def _by_risk(at_risk: Decimal, stop_loss_per_unit: Decimal | None) -> Decimal | Denial:
    """Return the quantity that loses `at_risk` at the stop."""
    if stop_loss_per_unit is None:
        return Denial(Code.STOP_REQUIRED)
    if stop_loss_per_unit <= 0:
        return Denial(Code.STOP_AT_ENTRY)
    return at_risk / stop_loss_per_unit


def _provider_quantity(mode: str, account: Account, provider: ProviderFigures) -> Decimal | Denial:
    """Return the provider's quantity, in EQUITY_RATIO in proportion to the account's equity."""
    if not provider.quantity:
        return Denial(Code.PROVIDER_SIZE_MISSING, detail="provider_quantity")
    if mode == SizingMode.PROVIDER_MULTIPLE:
        return provider.quantity
    if not provider.equity:
        return Denial(Code.PROVIDER_SIZE_MISSING, detail="provider_equity")
    return provider.quantity * account.equity / provider.equity
