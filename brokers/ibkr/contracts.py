"""Map our symbols to IBKR's contracts: by the connection's `symbols`, else by the symbol's form.

It needs nothing of ib_async, since settings are also validated where ib_async is not installed.
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
"""The fields of ib_async's `Contract` that the symbol map may have."""
SECURITY_TYPES = ("CASH", "STK", "FUT", "CFD")
LEVERAGE = {
    "CASH": Decimal("0.05"), "STK": Decimal("0.5"), "CFD": Decimal("0.2"), "FUT": Decimal("0.1"),
}  # fmt: skip
"""Margin for one unit of notional by security type; `what_if` reads the account's own."""


class InvalidSymbolError(ValueError):
    """An entry of the connection's symbol map is not a contract."""


def traded_symbols(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the symbols that the account trades: those of its map, or else the major pairs."""
    return tuple(settings.get("symbols") or ()) or DEFAULT_SYMBOLS


def contract_fields(symbol: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contract fields of a symbol. Raises InvalidSymbolError."""
    symbols = settings.get("symbols") or {}
    entry = symbols.get(symbol) or {} if isinstance(symbols, Mapping) else {}
    fields = {"secType": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, Mapping):
        raise InvalidSymbolError(f"{symbol}: write an object with a contract's fields")
    if unknown := set(fields) - set(FIELDS):
        raise InvalidSymbolError(f"{symbol}: no field {', '.join(sorted(unknown))}")
    try:
        typed = {name: FIELDS[name](value) for name, value in fields.items()}
    except (TypeError, ValueError) as error:
        raise InvalidSymbolError(f"{symbol}: {error}") from error
    found = {**_guess_contract(symbol, str(fields.get("secType", ""))), **typed}
    if found["secType"] not in SECURITY_TYPES:
        raise InvalidSymbolError(f"{symbol}: secType is one of {', '.join(SECURITY_TYPES)}")
    if not found["exchange"]:
        raise InvalidSymbolError(f"{symbol}: exchange is missing")
    return found


def possible_symbols(contract: Any, settings: Mapping[str, Any]) -> list[str]:
    """Return the symbols of the map whose fields do not contradict a contract.

    Two shares can have one name and currency, two futures one month: only IBKR can decide then.
    """
    symbols = settings.get("symbols") or ()
    return [symbol for symbol in symbols if _may_match(symbol, contract, settings)]


def _may_match(symbol: str, contract: Any, settings: Mapping[str, Any]) -> bool:
    try:
        fields = contract_fields(symbol, settings)
    except InvalidSymbolError:
        return False
    if fields.get("conId"):
        return bool(fields["conId"] == contract.conId)
    if (fields["secType"], fields["currency"]) != (contract.secType, contract.currency):
        return False
    if fields.get("secId"):
        return True  # a position's contract has no such id to compare
    month, contract_month = fields.get("lastTradeDateOrContractMonth", ""), _month_of(contract)
    if not (month.startswith(contract_month) or contract_month.startswith(month)):
        return False
    if fields.get("localSymbol"):
        return bool(fields["localSymbol"] == contract.localSymbol)
    return bool(fields["symbol"].casefold() == contract.symbol.casefold())


def _month_of(contract: Any) -> str:
    """Return a contract's month or day, without the time of day that TWS appends to some."""
    return str(contract.lastTradeDateOrContractMonth).partition(" ")[0]


def symbol_of(contract: Any, settings: Mapping[str, Any]) -> str:
    """Return a symbol for a contract that the map does not name: EURUSD, AAPL, ES 202512."""
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
    if kind in ("", "FUT") and (future := FUTURE.fullmatch(symbol)):
        return {
            "secType": "FUT", "symbol": future[1], "lastTradeDateOrContractMonth": future[2],
            "exchange": FUTURES.get(future[1], ""), "currency": "USD",
        }  # fmt: skip
    kind = kind or "STK"
    exchange = "SMART" if kind in ("STK", "CFD") else ""
    return {"secType": kind, "symbol": symbol, "exchange": exchange, "currency": "USD"}
