"""What stands around an answer: its envelope, what it refuses, when to ask again. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from brokers.crypto.exchanges import Envelope

BINANCE_LISTS = frozenset({
    "openOrders", "myTrades", "userTrades", "positionRisk", "openAlgoOrders", "allAlgoOrders",
    "income",
})  # fmt: skip
BYBIT_LISTS = frozenset({"realtime", "history", "list", "wallet-balance"})
KRAKEN_LISTS = {"OpenOrders": "open", "ClosedOrders": "closed", "TradesHistory": "trades"}
"""The last parts of the addresses of lists; ccxt takes an answer without its list for an empty one.
Of Kraken's, where the list stands."""
BALANCES = frozenset({"balance", "wallet-balance"})
"""OKX and Bybit: a list of one account, also if that has nothing. Without it nothing is known."""


@dataclass(frozen=True, slots=True)
class ExchangeError:
    """An exchange's own code and words in an answer."""

    code: str
    message: str


WARNING = re.compile(r"W[A-Z][A-Za-z]*:")
LONGEST_BAN_SECONDS = 3 * 24 * 3600
"""Of an address. docs Binance spot "IP Limits": bans last from two minutes to three days."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a Retry-After header names; None: none, or no such wait.

    A date is none, nor is what lasts longer than any ban, as a time since 1970 or in milliseconds:
    all accounts of the address, in all processes, would send no exit any more."""
    value = next((v for name, v in headers.items() if name.lower() == "retry-after"), "")
    if not (value.isascii() and value.isdigit()):
        return None
    return seconds if (seconds := float(value)) <= LONGEST_BAN_SECONDS else None


def read_error(envelope: Envelope, body: str) -> ExchangeError | None:
    """Return the error that an answer's envelope reports; None: it is not the exchange's own."""
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(read, dict):
        return None
    match envelope:
        case Envelope.BINANCE if "code" in read:
            return ExchangeError(str(read["code"]), str(read.get("msg", "")))
        case Envelope.BYBIT if "retCode" in read:
            return ExchangeError(str(read["retCode"]), str(read.get("retMsg", "")))
        case Envelope.OKX if "code" in read:
            return _okx_error(read)
        case Envelope.KRAKEN if isinstance(errors := read.get("error"), list):
            left = without_warnings(errors)
            return ExchangeError(str(left[0]), "") if left else None
        case _:
            return None


def without_warnings(errors: Any) -> Any:
    """Return Kraken's list of errors without its warnings, whose first letter is W: the request was
    done. Docs "API Errors": severity E or W, category, text. ccxt takes each entry for an error."""
    if not isinstance(errors, list):
        return errors
    return [one for one in errors if not (isinstance(one, str) and WARNING.match(one))]


def is_json(body: str) -> bool:
    """Whether an answer is an object or a list: a program's, no gateway's page."""
    try:
        return isinstance(orjson.loads(body), (dict, list))
    except orjson.JSONDecodeError:
        return False


def is_whole(envelope: Envelope, path: str, read: Any) -> bool:
    """Whether an answer has the exchange's own envelope for success, and the list that was asked
    for. An empty object, or a page of a gateway, is not an account without positions. path: of the
    address, without its query."""
    name = path.rpartition("/")[2]
    if envelope is Envelope.CCXT:
        return isinstance(read, (dict, list))
    if envelope is Envelope.BINANCE:
        if name in BINANCE_LISTS:
            return _is_list_of(name, read)
        if name == "account":
            return isinstance(read, dict) and ("balances" in read or "assets" in read)
        return isinstance(read, (dict, list)) and bool(read)
    if not isinstance(read, dict):
        return False
    if envelope is Envelope.OKX:
        lines = read.get("data")
        is_done = str(read.get("code")) == "0" and _is_list_of(name, lines)
        return is_done and not any(_is_refused(line) for line in lines or ())
    result = read.get("result")
    if not isinstance(result, dict):
        return False
    if envelope is Envelope.BYBIT:
        has_list = name not in BYBIT_LISTS or _is_list_of(name, result.get("list"))
        return str(read.get("retCode")) == "0" and has_list
    has_list = name not in KRAKEN_LISTS or isinstance(result.get(KRAKEN_LISTS[name]), (dict, list))
    return read.get("error") == [] and has_list


def _is_list_of(name: str, value: Any) -> bool:
    """Whether it is a list of objects with content; it may be empty unless it is of balances."""
    if not isinstance(value, list) or not (value or name not in BALANCES):
        return False
    return all(isinstance(one, dict) and one for one in value)


def _is_refused(line: Mapping[str, Any]) -> bool:
    """Whether OKX refused what a line of its answer is about, whatever the code on top says."""
    return line.get("sCode") not in (None, "", "0")


def _okx_error(read: Mapping[str, Any]) -> ExchangeError:
    """An order's own code stands in `data`, the request's on top."""
    lines = read.get("data") or [{}]
    first = lines[0] if isinstance(lines, list) and isinstance(lines[0], dict) else {}
    if _is_refused(first):
        return ExchangeError(str(first["sCode"]), str(first.get("sMsg", "")))
    return ExchangeError(str(read["code"]), str(read.get("msg", "")))
