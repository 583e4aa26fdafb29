"""Our symbols and IBKR's contracts: what the connection's `symbols` say, else by its looks.

Settings are checked with it where ib_async is not installed, so it needs none of it.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

CURRENCIES = frozenset({
    "AUD", "CAD", "CHF", "CNH", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS", "JPY", "KRW",
    "MXN", "NOK", "NZD", "PLN", "SEK", "SGD", "TRY", "USD", "ZAR",
})  # fmt: skip
FUTURES = {
    "ES": "CME", "MES": "CME", "NQ": "CME", "MNQ": "CME", "RTY": "CME", "6E": "CME", "6B": "CME",
    "6J": "CME", "YM": "CBOT", "MYM": "CBOT", "ZB": "CBOT", "ZN": "CBOT", "CL": "NYMEX",
    "MCL": "NYMEX", "NG": "NYMEX", "GC": "COMEX", "MGC": "COMEX", "SI": "COMEX", "HG": "COMEX",
}  # fmt: skip
DEFAULT_SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY", "USDCHF", "USDCAD", "AUDUSD", "NZDUSD")
FUTURE = re.compile(r"([A-Z0-9]{1,5})[ -](\d{6}(?:\d{2})?)")
FIELDS: Mapping[str, type[int] | type[str]] = {
    "conId": int, "secType": str, "symbol": str, "exchange": str, "primaryExchange": str,
    "currency": str, "lastTradeDateOrContractMonth": str, "multiplier": str, "localSymbol": str,
    "tradingClass": str, "secIdType": str, "secId": str,
}  # fmt: skip
"""What may be said of a contract: fields of ib_async's `Contract`."""
SECURITY_TYPES = ("CASH", "STK", "FUT", "CFD")
LEVERAGE = {
    "CASH": Decimal("0.05"), "STK": Decimal("0.5"), "CFD": Decimal("0.2"), "FUT": Decimal("0.1"),
}  # fmt: skip
"""Margin for one unit of notional by security type; the account's own is asked by `what_if`."""


class BadSymbolError(ValueError):
    """The connection's symbol map says something that is no contract."""


def listed(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the symbols that the account trades: those of its map, else the major pairs."""
    return tuple(settings.get("symbols") or ()) or DEFAULT_SYMBOLS


def fields_of(symbol: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the contract that a symbol means. Raises BadSymbolError."""
    symbols = settings.get("symbols") or {}
    entry = symbols.get(symbol) or {} if isinstance(symbols, Mapping) else {}
    fields = {"secType": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, Mapping):
        raise BadSymbolError(f"{symbol}: an object with a contract's fields is wanted")
    if unknown := set(fields) - set(FIELDS):
        raise BadSymbolError(f"{symbol}: no field {', '.join(sorted(unknown))}")
    try:
        typed = {name: FIELDS[name](value) for name, value in fields.items()}
    except (TypeError, ValueError) as error:
        raise BadSymbolError(f"{symbol}: {error}") from error
    found = {**_guess_contract(symbol, str(fields.get("secType", ""))), **typed}
    if found["secType"] not in SECURITY_TYPES:
        raise BadSymbolError(f"{symbol}: secType is one of {', '.join(SECURITY_TYPES)}")
    if not found["exchange"]:
        raise BadSymbolError(f"{symbol}: exchange is missing")
    return found


def possible_symbols(contract: Any, settings: Mapping[str, Any]) -> list[str]:
    """Return the symbols of the map that may mean a contract, as far as what is said of both tells.

    Two shares can have one name and one currency, two futures one month: which it is says IBKR.
    """
    return [one for one in settings.get("symbols") or () if _could_be(one, contract, settings)]


def _could_be(symbol: str, contract: Any, settings: Mapping[str, Any]) -> bool:
    try:
        fields = fields_of(symbol, settings)
    except BadSymbolError:
        return False
    if fields.get("conId"):
        return bool(fields["conId"] == contract.conId)
    if (fields["secType"], fields["currency"]) != (contract.secType, contract.currency):
        return False
    if fields.get("secId"):
        return True  # nothing that is told with a position says what it would be
    month, theirs = fields.get("lastTradeDateOrContractMonth", ""), _month_of(contract)
    if not (month.startswith(theirs) or theirs.startswith(month)):
        return False
    if fields.get("localSymbol"):
        return bool(fields["localSymbol"] == contract.localSymbol)
    return bool(fields["symbol"].casefold() == contract.symbol.casefold())


def _month_of(contract: Any) -> str:
    """What a contract's month or day begins with; TWS writes a time of day behind some."""
    return str(contract.lastTradeDateOrContractMonth).partition(" ")[0]


def symbol_of(contract: Any, settings: Mapping[str, Any]) -> str:
    """Name a contract that the map does not: EURUSD, AAPL, ES 202512."""
    if contract.secType == "CASH":
        return f"{contract.symbol}{contract.currency}"
    if contract.secType == "FUT":
        return f"{contract.symbol} {contract.lastTradeDateOrContractMonth[:6]}"
    return str(contract.symbol)


def _guess_contract(symbol: str, kind: str) -> dict[str, Any]:
    letters = symbol.replace("/", "").replace(".", "")
    base, quote = letters[:3], letters[3:]
    is_pair = base in CURRENCIES and quote in CURRENCIES
    if (kind or "CASH") in ("CASH", "CFD") and is_pair:
        exchange = "SMART" if kind == "CFD" else "IDEALPRO"
        return {
            "secType": kind or "CASH", "symbol": base, "currency": quote, "exchange": exchange,
        }  # fmt: skip
    if kind in ("", "FUT") and (named := FUTURE.fullmatch(symbol)):
        return {
            "secType": "FUT", "symbol": named[1], "lastTradeDateOrContractMonth": named[2],
            "exchange": FUTURES.get(named[1], ""), "currency": "USD",
        }  # fmt: skip
    kind = kind or "STK"
    exchange = "SMART" if kind in ("STK", "CFD") else ""
    return {"secType": kind, "symbol": symbol, "exchange": exchange, "currency": "USD"}
