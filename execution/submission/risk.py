"""Check the limits of every entry; a denial has the limit's code, the value and the maximum. Pure.

Exits are not checked: no entry limit may block them.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from common.figure_names import OF_EQUITY, Limit
from common.money import rounded_apart, to_stored
from common.reason_codes import Code
from connections.entry_limits import EntryLimits
from execution.submission.recent import BundleFlow
from execution.submission.sizing import HUNDRED, ZERO, Denial


@dataclass(slots=True)
class PortfolioExposure:
    """An account's exposure, with orders in flight counted as filled. Account currency."""

    positions: int = 0
    notional: Decimal = ZERO
    margin_in_flight: Decimal = ZERO
    risk: Decimal = ZERO
    sides: set[tuple[str, str]] = field(default_factory=set)  # (pair, side); netting accounts only
    closing: set[tuple[str, str]] = field(default_factory=set)  # exits for all of it are live
    orders: int = 0  # entries that are sent and not done
    notional_by_pair: dict[str, Decimal] = field(default_factory=dict)  # pairs that have a limit
    flow: BundleFlow = field(default_factory=BundleFlow)

    def add(self, entry: "Entry") -> None:
        """Count an allowed entry, so that the limits of the next one include it."""
        self.positions += 1
        self.orders += 1
        of_pair = self.notional_by_pair.get(entry.pair, ZERO)
        self.notional_by_pair[entry.pair] = of_pair + entry.notional
        self.notional += entry.notional
        self.margin_in_flight += entry.margin
        self.risk += entry.risk


class AccountFunds(NamedTuple):
    """The account's funds as its broker last reported them. Account currency; leverage 30: 1:30."""

    equity: Decimal
    free_margin: Decimal
    leverage: Decimal


class Entry(NamedTuple):
    """An entry to be checked. quantity: base units; the rest: account currency."""

    quantity: Decimal
    notional: Decimal
    margin: Decimal
    risk: Decimal
    pair: str


def check(
    entry: Entry, exposure: PortfolioExposure, limits: EntryLimits, funds: AccountFunds
) -> Denial | None:
    """Return the first limit that the entry breaks, None if it may be sent."""
    if limits.max_quantity is not None and entry.quantity > limits.max_quantity:
        return Denial(Code.MAX_QUANTITY, entry.quantity, limits.max_quantity)
    if denial := open_positions_denial(exposure, limits.max_open_positions):
        return denial
    if limits.max_open_orders is not None and exposure.orders >= limits.max_open_orders:
        return Denial(
            Code.MAX_OPEN_ORDERS, Decimal(exposure.orders), Decimal(limits.max_open_orders)
        )
    missing = _margin_denial(entry, exposure, funds)
    if missing and funds.equity <= 0:  # a ratio to nothing has no value to show
        return missing
    leverage = to_stored(_ratio(exposure.notional + entry.notional, funds.equity))
    if leverage > limits.max_leverage:
        value = rounded_apart(leverage, limits.max_leverage)
        return Denial(Code.MAX_LEVERAGE, value, limits.max_leverage)
    if denial := _check_symbol(entry, exposure, limits, funds):
        return denial
    if missing:
        return missing
    if denial := trade_risk_denial(entry.risk, limits, funds):
        return denial
    at_risk = to_stored(_ratio((exposure.risk + entry.risk) * HUNDRED, funds.equity))
    if at_risk > limits.max_portfolio_risk_percent:
        value = rounded_apart(at_risk, limits.max_portfolio_risk_percent)
        return Denial(Code.PORTFOLIO_RISK, value, limits.max_portfolio_risk_percent)
    return None


def open_positions_denial(exposure: PortfolioExposure, maximum: int) -> Denial | None:
    """Deny an entry that would open one position too many."""
    if exposure.positions < maximum:
        return None
    return Denial(Code.MAX_OPEN_POSITIONS, Decimal(exposure.positions), Decimal(maximum))


def trade_risk_denial(risk: Decimal, limits: EntryLimits, funds: AccountFunds) -> Denial | None:
    """Deny an entry that alone risks too large a part of equity. risk: account currency."""
    if limits.max_trade_risk_percent is None:
        return None
    alone = to_stored(_ratio(risk * HUNDRED, funds.equity))  # 1 / 3 of a unit is not exact
    if alone <= limits.max_trade_risk_percent:
        return None
    value = rounded_apart(alone, limits.max_trade_risk_percent)
    return Denial(Code.TRADE_RISK, value, limits.max_trade_risk_percent)


def _check_symbol(
    entry: Entry, exposure: PortfolioExposure, limits: EntryLimits, funds: AccountFunds
) -> Denial | None:
    """Deny if the notional of the entry's pair would be too large a part of equity."""
    maximum = limits.max_symbol_exposure_percent
    if maximum is None:
        return None
    notional = exposure.notional_by_pair.get(entry.pair, ZERO) + entry.notional
    percent = to_stored(_ratio(notional * HUNDRED, funds.equity))
    if percent <= maximum:
        return None
    of = Limit(f"Exposure to {entry.pair}", OF_EQUITY)
    value = rounded_apart(percent, maximum)
    return Denial(Code.SYMBOL_EXPOSURE, value, maximum, entry.pair, limit=of)


def margin_of(notional: Decimal, leverage: Decimal, margin_rate: Decimal) -> Decimal:
    """Return the margin for a notional, by the instrument's rate or else the account's leverage."""
    return notional * margin_rate if margin_rate > 0 else notional / max(leverage, Decimal(1))


def _margin_denial(entry: Entry, exposure: PortfolioExposure, funds: AccountFunds) -> Denial | None:
    free = _free_margin(exposure, funds)
    if entry.margin <= free:
        return None
    value = rounded_apart(entry.margin, free)
    return Denial(Code.MARGIN, value, max(rounded_apart(free, value), ZERO))


def _free_margin(exposure: PortfolioExposure, funds: AccountFunds) -> Decimal:
    """Return the lower of the broker's free margin less what is in flight, and our own estimate."""
    ours = funds.equity - margin_of(exposure.notional, funds.leverage, ZERO)
    return min(funds.free_margin - exposure.margin_in_flight, ours)


def _ratio(part: Decimal, whole: Decimal) -> Decimal:
    """Return part / whole; without funds, a ratio that is beyond every limit."""
    return part / whole if whole > 0 else Decimal(10) ** 9
