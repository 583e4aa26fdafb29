"""The connection form of an IBKR account. It needs nothing of ib_async."""

from typing import Any
from zoneinfo import ZoneInfo

from brokers.connection_form import Form, OpenChangeRule, Setting, SettingType
from brokers.ibkr.contracts import InvalidSymbolError, contract_fields, traded_symbols
from brokers.ibkr.endpoint import DEFAULT_PORT, NEW_YORK
from brokers.maintenance_windows import DEFAULT_REGION, REGION


def _symbols_error(symbols: Any) -> str:
    try:
        for symbol in traded_symbols({"symbols": symbols}):
            contract_fields(symbol, {"symbols": symbols})
    except InvalidSymbolError as error:
        return f"{error}."
    return ""


def _zone_error(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return f"There is no time zone {name!r}. Write one such as {NEW_YORK}."
    return ""


def _rates_error(rates: Any) -> str:
    for symbol, rate in rates.items():
        try:
            is_valid = 0 < float(rate) <= 1
        except (TypeError, ValueError):
            is_valid = False
        if not is_valid:
            return f"Write the rate of {symbol} as a number above 0 and up to 1: 0.05 is 1:20."
    return ""


FORM = Form(
    settings=(
        Setting(
            "host",
            "Gateway",
            "Where TWS or IB Gateway listens for API clients; its owner logs it in.",
            SettingType.HOST,
            required=True,
            while_open=OpenChangeRule.FREE,  # account numbers are unique over all gateways
        ),
        Setting(
            "port",
            "Port",
            "4002 Gateway paper, 4001 Gateway live, 7497 TWS paper, 7496 TWS live.",
            SettingType.WHOLE,
            default=DEFAULT_PORT,
            minimum=1,
            maximum=65535,
            while_open=OpenChangeRule.FREE,
            is_basic=True,
        ),
        Setting(
            "client_id",
            "Client id",
            "Only the client id that placed an order can change it. Empty: a unique one. Set it"
            " only if your gateway requires a certain one, and never change it while orders are"
            " working.",
            SettingType.WHOLE,
            minimum=1,
            maximum=2**31 - 1,
            while_open=OpenChangeRule.IDENTIFIES_ACCOUNT,
        ),
        Setting(
            "symbols",
            "Symbols",
            "The symbols to trade: a list such as EURUSD, AAPL, ES 202612, or an object with the"
            ' fields of each contract: {"DAX": {"secType": "FUT", "exchange": "EUREX",'
            ' "currency": "EUR", "lastTradeDateOrContractMonth": "202612"}}. Empty:'
            " the major currency pairs.",
            SettingType.SYMBOLS,
            check=_symbols_error,
            while_open=OpenChangeRule.LOCKED_BY_SYMBOL,
        ),
        Setting(
            "timezone",
            "Time zone",
            "The one chosen at the gateway's log-in: IBKR's day ends there.",
            default=NEW_YORK,
            check=_zone_error,
        ),
        Setting(
            REGION,
            "Resets of",
            "The account's region at IBKR: its systems reset each day at that region's hours.",
            SettingType.CHOICE,
            default=DEFAULT_REGION,
            choices=(("america", "North America"), ("europe", "Europe"), ("asia", "Asia-Pacific")),
        ),
        Setting(
            "margin_rates",
            "Margin by symbol",
            'Margin for one unit of value, if it differs from the usual one: {"AAPL": 0.25}.',
            SettingType.TABLE,
            check=_rates_error,
        ),
        Setting(
            "outside_rth",
            "Also outside of regular hours",
            "Execute orders before and after the exchange's regular hours, too.",
            SettingType.SWITCH,
            default=False,
        ),
        Setting(
            "fractional_shares",
            "Fractions of shares",
            "IBKR accepts fractions of a share from this account through its API. Most accounts"
            " are refused (10243): then only whole shares are ordered.",
            SettingType.SWITCH,
            default=False,
        ),
        Setting(
            "cash_account",
            "Cash account",
            "It buys with settled cash only, without margin.",
            SettingType.SWITCH,
            default=False,
        ),
        Setting(
            "reply_timeout",
            "Wait for an answer … seconds",
            "After that the order is unknown, and we look it up.",
            SettingType.NUMBER,
            default=10,
            minimum=0.01,
            maximum=60,
        ),
    ),
    label="Interactive Brokers",
    account="As TWS displays it: U1234567, or DU1234567 for a paper account.",
)
