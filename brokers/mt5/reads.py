"""Reads from the terminal, on its own thread. All raise ReadFailed."""

import logging
from collections.abc import Sequence

from brokers.base import ReadFailed
from brokers.mt5 import lookup, parse
from brokers.mt5.lots import Lots, decimal, is_price, is_tradable
from brokers.mt5.session import Terminal
from brokers.types import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    ConnectionSpec,
    Instrument,
    Quote,
)
from common.clocks import market_now
from common.reason_codes import Code

log = logging.getLogger(__name__)


def account(terminal: Terminal, spec: ConnectionSpec) -> AccountState:
    """Read the account's balance, equity and margins."""
    account_info, terminal_info = terminal.ensure_account(spec), terminal.api.terminal_info()
    terminal.sample_clock(spec, account_info)
    allowed = (
        account_info.trade_allowed
        and account_info.trade_expert
        and terminal_info
        and terminal_info.trade_allowed
    )
    return parse.account(account_info, market_now(), trading_allowed=bool(allowed))


def instruments(terminal: Terminal, spec: ConnectionSpec) -> list[Instrument]:
    """Read all tradable symbols, without one whose data cannot be read."""
    terminal.ensure_account(spec)
    listed = terminal.rows(terminal.api.symbols_get, count=terminal.api.symbols_total)
    pairs, found = _configured_pairs(spec), []
    for info in listed:
        try:
            if is_tradable(info):
                found.append(Lots(info).instrument(pairs.get(info.name, "")))
        except (ValueError, TypeError, ArithmeticError) as error:
            log.warning("mt5: %s cannot be traded: %r", info.name, error)
    return found


def positions(terminal: Terminal, spec: ConnectionSpec) -> list[BrokerPosition]:
    """Read all open positions."""
    read = lookup.account_reader(terminal, spec, terminal.ensure_account(spec))
    return [parse.position(read, row) for row in terminal.positions()]


def open_orders(terminal: Terminal, spec: ConnectionSpec) -> list[BrokerOrder]:
    """Read all working orders."""
    read = lookup.account_reader(terminal, spec, terminal.ensure_account(spec))
    found = (parse.working_order(read, row) for row in terminal.orders())
    return [order for order in found if order is not None]


def quote(terminal: Terminal, spec: ConnectionSpec, symbol: str) -> Quote:
    """Return the latest tick with its own time: on a Sunday that is Friday's."""
    for found in quotes(terminal, spec, [symbol]):
        return found
    raise ReadFailed(Code.MARKET_CLOSED, f"the terminal has no price of {symbol}")


def quotes(terminal: Terminal, spec: ConnectionSpec, symbols: Sequence[str]) -> list[Quote]:
    """Return the latest tick of each symbol that has one. Raises Rejected for an unknown symbol."""
    account_info = terminal.ensure_account(spec)
    time, found = terminal.time(spec, account_info), []
    for symbol in symbols:
        lots = terminal.lots(account_info, symbol)
        tick = terminal.tick(time, symbol)
        if tick is not None and is_price(tick.bid) and is_price(tick.ask):
            pair = lots.instrument(_configured_pairs(spec).get(symbol, "")).pair
            at = time.utc(tick.time_msc / 1000)
            found.append(Quote(pair, decimal(tick.bid), decimal(tick.ask), at))
    return found


def _configured_pairs(spec: ConnectionSpec) -> dict[str, str]:
    """Return the pairs that the owner has set, by the broker's symbol."""
    return dict(spec.settings.get("symbols") or {})
