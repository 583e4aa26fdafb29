"""Symbols that are not among an exchange's loaded markets: what was listed since they were loaded,
or what is no longer listed. What an owner trades there must not stop a read."""

from brokers.crypto.client import Client
from brokers.crypto.level_orders import LevelName
from brokers.crypto.order_encoding import CLIENT_ORDER_ID


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
    """Whether a symbol is listed; if not, what the exchange reports of it is left out.

    Raises ReadFailed UNKNOWN_SYMBOL_AT_BROKER for what may be ours: the markets are loaded again.
    """
    if symbol in client.exchange.markets:
        return True
    if may_be_ours:
        client.market(symbol)
    client.warn_once(f"{symbol} is not listed, and not ours: its {what} are left out")
    return False
