"""The limits of entries, in the one order in which they are checked. Pure.

An entry is decided in steps, and each step has a list here:

1. `halt_denial`: the kill switch and pauses;
2. `ADMISSION`: what the account may trade now;
3. `PRICE`: whether the market allows its price;
4. `SIZE`: what it adds to the account, to the day and to its signal.

Each limit names the subjects that it counts for. The claim, the preview of a publication and
changes of orders all check these lists, so a new limit is added here, or in the list of
`flow_limits.py` that is part of them, and nowhere else.
docs/limits.md has an example of each.
"""

from datetime import datetime
from typing import NamedTuple

from brokers.account_capabilities import Capabilities
from brokers.types import PositionMode, Side
from common.reason_codes import Code
from connections.selectors import pause_limit
from execution.base.kill_switch import denial_code
from execution.submission import market_limits, risk
from execution.submission.eligibility import (
    cannot_trade,
    expiry_too_near,
    listing_denial,
    subscription_denial,
)
from execution.submission.entry_prices import (
    PricedEntry,
    level_reached,
    plan_limit_passed,
    price_reached,
    slippage_denial,
    slippage_not_kept,
    stop_passed,
)
from execution.submission.first_slice import targets_denial
from execution.submission.flow_limits import FLOW_LIMITS
from execution.submission.limit_lists import (
    GROWING,
    PRICED,
    SENT,
    SIZED,
    LimitList,
    SizedEntry,
    Subject,
)
from execution.submission.outcomes import Deferred
from execution.submission.rows import InstrumentRow, OrderRow, SignalRow
from execution.submission.signal_limits import signal_denial
from execution.submission.sizing import Denial


def halt_denial(row: OrderRow, halt: str | None) -> Denial | None:
    """Deny all of the subjects while the kill switch or a pause stops them. halt: its mode."""
    if halt is not None:
        return Denial(denial_code(halt))
    if row.pause_code:
        return Denial(
            Code[row.pause_code],
            row.pause_value,
            row.pause_maximum,
            row.pause_detail or "",
            limit=pause_limit(row.pause_name or "", row.pause_unit or "", row.currency or ""),
        )
    return None


class Admission(NamedTuple):
    """An entry and its account. instrument: None if its broker does not list the pair."""

    row: OrderRow
    signal: SignalRow
    instrument: InstrumentRow | None
    capabilities: Capabilities
    now: datetime


def _market_closed(case: Admission) -> Denial | None:
    assert case.instrument is not None  # `listing_denial` comes first
    return market_limits.market_hours_denial(case.row, case.instrument, case.now)


ADMISSION = LimitList[Admission](
    (lambda c: cannot_trade(c.row, c.signal, c.capabilities), GROWING),
    (lambda c: subscription_denial(c.row, c.now), SENT),
    (lambda c: expiry_too_near(c.row, c.signal, c.now, c.capabilities), SENT),
    (lambda c: market_limits.symbol_denial(c.row), GROWING),
    (lambda c: market_limits.hours_denial(c.row, c.now), GROWING),
    (lambda c: listing_denial(c.row, c.instrument), SENT),
    (_market_closed, GROWING),
)


def _spread(entry: PricedEntry) -> Denial | None:
    instrument, quote, _ = entry.market
    return market_limits.spread_denial(entry.row, entry.signal, instrument, quote)


def _slices_unsupported(entry: PricedEntry) -> Denial | None:
    """Deny slices on an account of which it is not known whether it nets positions."""
    mode = entry.row.position_mode
    if not entry.signal.execution_style or mode in set(PositionMode):
        return None
    return Denial(Code.SLICES_UNSUPPORTED, detail=mode)


PRICE = LimitList[PricedEntry](
    (slippage_not_kept, SENT),
    (lambda e: market_limits.deviation_denial(e.row, e.signal, e.at.touch), PRICED),
    (lambda e: market_limits.level_deviation_denial(e.row, e.signal, e.at.touch), SENT),
    (_spread, GROWING),
    (plan_limit_passed, SENT),
    (slippage_denial, PRICED),
    (level_reached, PRICED),
    (price_reached, PRICED),
    (_slices_unsupported, {Subject.ENTRY}),
    (stop_passed, SENT),
)


def _portfolio(entry: SizedEntry) -> Denial | Deferred | None:
    """Deny an entry that would close what another signal opened, or that breaks a limit.

    While the opposite position is being closed (a strategy reverses) the entry waits instead: the
    account cannot hold both, or its limits do not allow both.
    """
    row, exposure = entry.row, entry.exposure
    if broken := netting_denial(row, entry.side, exposure):
        return broken
    denial = risk.check(entry.on_account, exposure, row.terms.limits, funds_of(row))
    if denial and (row.pair, entry.side.opposite) in exposure.closing:
        return Deferred(Code.OPPOSITE_CLOSING, detail=row.pair)
    return denial


def netting_denial(
    row: OrderRow, side: Side, exposure: risk.PortfolioExposure
) -> Denial | Deferred | None:
    """Deny an entry that would close what another signal holds, or may open, on a netting account.

    It waits if that is being closed. Each slice is checked, also while its plan holds nothing yet.
    """
    if row.position_mode != PositionMode.NETTING:
        return None
    opposite = (row.pair, side.opposite)
    if opposite in exposure.sides:
        return Denial(Code.NETTING_OPPOSITE, detail=row.pair)
    if opposite in exposure.closing:
        return Deferred(Code.OPPOSITE_CLOSING, detail=row.pair)
    return None


def _too_few_slices(entry: SizedEntry) -> Denial | None:
    return targets_denial(entry.priced, entry.quantity) if entry.priced else None


def _whole_risk(entry: SizedEntry) -> Denial | None:
    return risk.trade_risk_denial(entry.risk, entry.row.terms.limits, funds_of(entry.row))


def _signal_total(entry: SizedEntry) -> Denial | None:
    budget = entry.budget
    if budget is None or isinstance(budget, Denial):
        return budget
    return signal_denial(budget, entry.worth)


SIZE = LimitList[SizedEntry](
    (_portfolio, SIZED),
    (_whole_risk, {Subject.GROWTH}),  # of a new entry it is among those of the portfolio
    *FLOW_LIMITS,
    (_signal_total, SIZED),
    (_too_few_slices, {Subject.ENTRY}),
)


def funds_of(row: OrderRow) -> risk.AccountFunds:
    """Return the funds of an order's account, which was read: `cannot_trade` comes first."""
    assert row.equity is not None
    return risk.AccountFunds(row.equity, row.free_margin, row.leverage)
