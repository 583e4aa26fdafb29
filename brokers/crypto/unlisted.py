"""Symbols that are not among an exchange's loaded markets: what was listed since they were loaded,
or what is no longer listed. What an owner trades there must not stop a read."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from brokers.crypto import parse
from brokers.crypto.client import Client
from brokers.crypto.level_orders import LevelName
from brokers.crypto.order_encoding import CLIENT_ORDER_ID
from brokers.unreadable_rows import UNREADABLE_ROWS
from common.clocks import machine_time

NOT_LISTED = "its symbol is not listed"


def listed(client: Client) -> list[str]:
    """Return the connection's symbols that the exchange lists; no other can be asked for."""
    return [name for name in client.settings.symbols if name in client.exchange.markets]


def all_are_listed(client: Client) -> bool:
    """Whether each of the connection's symbols is listed: then no other one can be ours."""
    return listed(client) == [*client.settings.symbols]


def is_our_id(client_order_id: str) -> bool:
    """Whether a client order id is of the kind that we give to orders and levels."""
    is_order = CLIENT_ORDER_ID.fullmatch(client_order_id) is not None
    return is_order or LevelName.read(client_order_id) is not None


def is_readable(client: Client, symbol: str, *, what: str, may_be_ours: bool) -> bool:
    """Whether a symbol is listed; if not, what the exchange reports of it is left out and noted.

    Raises ReadFailed UNKNOWN_SYMBOL_AT_BROKER for what may be ours, until the markets have been
    loaded again: one list may have lacked the symbol.
    """
    if symbol in client.exchange.markets:
        client.missing_since.pop(symbol, None)
        return True
    if may_be_ours and client.markets_at <= client.missing_since.setdefault(symbol, machine_time()):
        client.market(symbol)
    UNREADABLE_ROWS.note(client.connection_id, what, f"in {symbol}", NOT_LISTED)
    return False


def size_of(client: Client, order: Mapping[str, Any]) -> Decimal | None:
    """Return the base units in one of ccxt's amounts of an order; None: not known, since its symbol
    is not listed. On spot it is 1."""
    market = client.exchange.markets.get(order["symbol"])
    if market is None:
        return Decimal(1) if client.settings.market == "spot" else None
    return parse.contract_size(market)


def name_of(client: Client, symbol: str) -> str:
    """Return the connection's name of a symbol. One that is not listed has the exchange's own name
    in what ccxt reads; '' if none of the connection's can be meant."""
    if symbol in client.exchange.markets:
        return symbol
    wanted = _letters(symbol)
    names = [name for name in client.settings.symbols if _letters(name.partition(":")[0]) == wanted]
    return names[0] if len(names) == 1 else ""


def _letters(symbol: str) -> str:
    return "".join(filter(str.isalnum, symbol.removesuffix("-SWAP"))).upper()
