"""What a message of an exchange's websocket announces. Pure.

Only that something has changed counts: what it is, the account's reads state. So a message that is
lost, late, doubled or not understood changes nothing but when the account is read.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import orjson


class Announcement(StrEnum):
    """What a message announces."""

    SUBSCRIBED = "SUBSCRIBED"  # from now on changes are announced
    CHANGED = "CHANGED"  # an order of the account has changed or was executed
    REFUSED = "REFUSED"  # the subscription: there will be no news
    ENDING = "ENDING"  # the exchange ends the stream: connect again
    NOTHING = "NOTHING"


# Sources: the messages in the comments of ccxt 4.5.90, pro/<exchange>.py, and remembered ones.
# remembered, Binance futures: `listenKeyExpired`, after which no event comes; spot:
# `eventStreamTerminated`, `serverShutdown`.
BINANCE_CHANGES = frozenset({"executionReport", "ORDER_TRADE_UPDATE", "ALGO_UPDATE"})
BINANCE_ENDS = frozenset({"listenKeyExpired", "eventStreamTerminated", "serverShutdown"})
BYBIT_TOPICS = ("order", "stopOrder", "execution")


def read(exchange_name: str, message: Any) -> Announcement:
    """Return what a message of this exchange's private stream announces."""
    reader = READERS.get(exchange_name)
    if reader is None or not isinstance(message, dict):  # OKX's pong is a text
        return Announcement.NOTHING
    return reader(message)


def refusal_of(exchange_name: str, message: Mapping[str, Any]) -> str:
    """Return a refusal as ccxt's errors have it: the exchange's name and then its answer."""
    inner = message.get("error")
    words = inner if isinstance(inner, dict) else {**message, "request": None}  # ours has the key
    return f"{exchange_name} {orjson.dumps(words, default=str).decode()}"


def _binance(message: Mapping[str, Any]) -> Announcement:
    inner = message.get("event")
    event = inner if isinstance(inner, dict) else message
    name, order = event.get("e"), event.get("o")
    if name in BINANCE_CHANGES:  # spot has the order's fields in the event itself
        return _of_order((order if isinstance(order, dict) else event).get("X") == "NEW")
    if name in BINANCE_ENDS:
        return Announcement.ENDING
    result = message.get("result")
    if isinstance(result, dict) and "subscriptionId" in result:
        return Announcement.SUBSCRIBED  # spot; futures confirm nothing: connected is subscribed
    if isinstance(message.get("error"), dict):
        return Announcement.REFUSED
    return Announcement.NOTHING


def _bybit(message: Mapping[str, Any]) -> Announcement:
    if str(message.get("topic") or "").startswith(BYBIT_TOPICS):
        states = (line.get("orderStatus") for line in message.get("data") or ())
        return _of_order(all(state in ("New", "Untriggered") for state in states))
    if message.get("op") == "subscribe":
        return _confirmed(message.get("success"))
    return Announcement.NOTHING


def _okx(message: Mapping[str, Any]) -> Announcement:
    argument = message.get("arg")
    channel = argument.get("channel") if isinstance(argument, dict) else None
    match message.get("event"):
        case "subscribe" if channel == "orders":
            return Announcement.SUBSCRIBED
        case "error":
            return Announcement.REFUSED
        case "notice":  # remembered, 64008: the connection closes soon for a service upgrade
            return Announcement.ENDING
    if channel == "orders" and "data" in message:
        return _of_order(all(line.get("state") == "live" for line in message["data"]))
    return Announcement.NOTHING


def _kraken(message: Mapping[str, Any]) -> Announcement:
    if message.get("channel") == "executions":
        states = (line.get("exec_type") for line in message.get("data") or ())
        return _of_order(all(state in ("pending_new", "new") for state in states))
    if message.get("method") == "subscribe":
        return _confirmed(message.get("success"))
    return Announcement.NOTHING


def _of_order(is_new: bool) -> Announcement:
    """Return what news of orders announces. Of a new one nothing is to be read: who sent it got the
    answer, and the next poll sees it. A wake for each would only delay that for its fill."""
    return Announcement.NOTHING if is_new else Announcement.CHANGED


def _confirmed(success: Any) -> Announcement:
    return Announcement.SUBSCRIBED if success is True else Announcement.REFUSED


def quoted_symbol(exchange_name: str, message: Any) -> str:
    """Return the exchange's symbol of a message that states a whole bid and ask; '': it is none.

    A later one replaces it. Not what only changes a book: Bybit's best level comes whole."""
    if not isinstance(message, dict):
        return ""
    match exchange_name:
        case "binance" if message.get("e", "bookTicker") == "bookTicker" and "b" in message:
            return str(message.get("s") or "")
        case "bybit" if message.get("type") == "snapshot":
            return str(message.get("topic") or "")
        case "okx" if "data" in message and message["arg"].get("channel") == "bbo-tbt":
            return str(message["arg"].get("instId") or "")
        case "kraken" if message.get("channel") == "ticker" and message.get("data"):
            return str(message["data"][0].get("symbol") or "")
    return ""


READERS: Mapping[str, Callable[[Mapping[str, Any]], Announcement]] = {
    "binance": _binance, "bybit": _bybit, "okx": _okx, "kraken": _kraken,
}  # fmt: skip
CONFIRMED_BY_CONNECTING = frozenset({("binance", "swap")})
"""Exchanges and markets that confirm no subscription: the address of the stream contains it."""
