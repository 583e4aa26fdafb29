"""Reads from the terminal, on its own thread. All raise ReadFailed."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from brokers.base import ReadFailed
from brokers.mt5 import lookup, parse
from brokers.mt5.lots import Lots, UnlistedSymbolError, decimal, is_price, is_tradable
from brokers.mt5.reader import Reader
from brokers.mt5.session import Terminal
from brokers.types import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    ConnectionSpec,
    Instrument,
    Quote,
    unreadable_position,
)
from brokers.unreadable_rows import readable
from common.clocks import market_now
from common.reason_codes import Code

T = TypeVar("T")


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
    pairs = _configured_pairs(spec)
    return readable(
        spec.connection_id, "symbol", listed,
        lambda info: Lots(info).instrument(pairs.get(info.name, "")) if is_tradable(info) else None,
        name_of=lambda info: str(info.name),
    )  # fmt: skip


def positions(terminal: Terminal, spec: ConnectionSpec) -> list[BrokerPosition]:
    """Read all open positions."""
    read = lookup.account_reader(terminal, spec, terminal.ensure_account(spec))
    return readable(
        spec.connection_id, "position", terminal.positions(),
        partial(_of_row, parse.position, read), name_of=_name_of,
        otherwise=lambda row: unreadable_position(str(row.identifier), str(row.symbol)),
    )  # fmt: skip


def open_orders(terminal: Terminal, spec: ConnectionSpec) -> list[BrokerOrder]:
    """Read all working orders."""
    read = lookup.account_reader(terminal, spec, terminal.ensure_account(spec))
    return readable(
        spec.connection_id, "open order", terminal.orders(),
        partial(_of_row, parse.working_order, read), name_of=_name_of,
    )  # fmt: skip


def _of_row(read_row: Callable[[Reader, Any], T], read: Reader, row: Any) -> T:
    """Read a row. Raises ValueError for one in a symbol that the broker no longer lists."""
    try:
        return read_row(read, row)
    except UnlistedSymbolError as error:
        raise ValueError(str(error)) from error


def _name_of(row: Any) -> str:
    return f"{row.ticket} in {row.symbol}"


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
