"""Our symbols and IBKR's contracts: what the connection's `symbols` say, else by its looks."""

import re
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any

from ib_async.contract import Contract

CURRENCIES = frozenset(
    [
        "AUD",
        "CAD",
        "CHF",
        "CNH",
        "CZK",
        "DKK",
        "EUR",
        "GBP",
        "HKD",
        "HUF",
        "ILS",
        "JPY",
        "KRW",
        "MXN",
        "NOK",
        "NZD",
        "PLN",
        "SEK",
        "SGD",
        "TRY",
        "USD",
        "ZAR",
    ]
)
FUTURES = {
    "ES": "CME", "MES": "CME", "NQ": "CME", "MNQ": "CME", "RTY": "CME", "6E": "CME", "6B": "CME",
    "6J": "CME", "YM": "CBOT", "MYM": "CBOT", "ZB": "CBOT", "ZN": "CBOT", "CL": "NYMEX",
    "MCL": "NYMEX", "NG": "NYMEX", "GC": "COMEX", "MGC": "COMEX", "SI": "COMEX", "HG": "COMEX",
}  # fmt: skip
DEFAULT_SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY", "USDCHF", "USDCAD", "AUDUSD", "NZDUSD")
FUTURE = re.compile(r"([A-Z0-9]{1,5}) (\d{6}(?:\d{2})?)")
FIELDS: dict[str, Any] = {field.name: type(field.default) for field in fields(Contract)}
LEVERAGE = {
    "CASH": Decimal("0.05"), "STK": Decimal("0.5"), "CFD": Decimal("0.2"), "FUT": Decimal("0.1"),
}  # fmt: skip
"""Margin for one unit of notional by security type; the account's own is asked by `what_if`."""


class BadSymbolError(ValueError):
    """The connection's symbol map says something that is no contract."""


def listed(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the symbols that the account trades: those of its map, else the major pairs."""
    return tuple(settings.get("symbols") or ()) or DEFAULT_SYMBOLS


def contract_of(symbol: str, settings: Mapping[str, Any]) -> Contract:
    """Return the contract that a symbol means. Raises BadSymbolError."""
    said = dict((settings.get("symbols") or {}).get(symbol) or {})
    if unknown := set(said) - set(FIELDS):
        raise BadSymbolError(f"{symbol}: no field {', '.join(sorted(unknown))}")
    guessed = _by_looks(symbol, str(said.get("secType", "")))
    try:
        typed = {name: FIELDS[name](value) for name, value in said.items()}
    except (TypeError, ValueError) as error:
        raise BadSymbolError(f"{symbol}: {error}") from error
    contract = Contract(**{**guessed, **typed})
    if not contract.secType or not contract.exchange:
        raise BadSymbolError(f"{symbol}: secType or exchange is missing")
    return contract


def symbol_of(contract: Contract, settings: Mapping[str, Any]) -> str:
    """Name a contract that the map does not: EURUSD, AAPL, ES 202512."""
    if contract.secType == "CASH":
        return f"{contract.symbol}{contract.currency}"
    if contract.secType == "FUT":
        return f"{contract.symbol} {contract.lastTradeDateOrContractMonth[:6]}"
    return str(contract.symbol)


def _by_looks(symbol: str, kind: str) -> dict[str, Any]:
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
