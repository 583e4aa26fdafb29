"""What an owner fills in for an IBKR account. No library of the broker's is needed for it."""

from typing import Any
from zoneinfo import ZoneInfo

from brokers.connection_form import Form, OpenChangeRule, Setting, SettingType
from brokers.ibkr.contracts import BadSymbolError, fields_of, listed
from brokers.ibkr.endpoint import DEFAULT_PORT, NEW_YORK
from brokers.maintenance_windows import DEFAULT_REGION, REGION


def _symbols_error(symbols: Any) -> str:
    try:
        for symbol in listed({"symbols": symbols}):
            fields_of(symbol, {"symbols": symbols})
    except BadSymbolError as error:
        return f"{error}."
    return ""


def _zone_error(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return f"There is no time zone {name!r}; write one such as {NEW_YORK}."
    return ""


def _rates_error(rates: Any) -> str:
    for symbol, rate in rates.items():
        try:
            fits = 0 < float(rate) <= 1
        except (TypeError, ValueError):
            fits = False
        if not fits:
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
            while_open=OpenChangeRule.FREE,  # IBKR has each number once, through whichever gateway
        ),
        Setting(
            "port",
            "Port",
            "4002 Gateway paper, 4001 Gateway live, 7497 TWS paper, 7496 TWS live.",
            SettingType.WHOLE,
            default=DEFAULT_PORT,
            least=1,
            most=65535,
            while_open=OpenChangeRule.FREE,
        ),
        Setting(
            "client_id",
            "Client id",
            "Only the client id that placed an order can change it. Empty: one that no other "
            "account has. Set it only where the gateway asks for a certain one, and never change it"
            " while orders rest.",
            SettingType.WHOLE,
            least=1,
            most=2**31 - 1,
            while_open=OpenChangeRule.IDENTIFIES_ACCOUNT,
        ),
        Setting(
            "symbols",
            "Symbols",
            "What is traded: a list such as EURUSD, AAPL, ES 202612, or an object with the fields "
            'of each contract: {"DAX": {"secType": "FUT", "exchange": "EUREX", "currency": "EUR", '
            '"lastTradeDateOrContractMonth": "202612"}}. Empty: the major currency pairs.',
            SettingType.SYMBOLS,
            check=_symbols_error,
            while_open=OpenChangeRule.LOCKED_BY_SYMBOL,
        ),
        Setting(
            "timezone",
            "Time zone",
            "The one chosen when the gateway was logged in: IBKR's day ends there.",
            default=NEW_YORK,
            check=_zone_error,
        ),
        Setting(
            REGION,
            "Resets of",
            "Where IBKR holds the account: its systems are reset each day at that region's hours.",
            SettingType.CHOICE,
            default=DEFAULT_REGION,
            choices=(("america", "North America"), ("europe", "Europe"), ("asia", "Asia-Pacific")),
        ),
        Setting(
            "margin_rates",
            "Margin by symbol",
            'Margin for one unit of value, where it is not the usual one: {"AAPL": 0.25}.',
            SettingType.TABLE,
            check=_rates_error,
        ),
        Setting(
            "outside_rth",
            "Also outside of regular hours",
            "Orders are executed before and after the exchange's regular hours, too.",
            SettingType.SWITCH,
            default=False,
        ),
        Setting(
            "reply_timeout",
            "Wait for an answer … seconds",
            "After that an order counts as unknown and is looked up.",
            SettingType.NUMBER,
            default=10,
            least=0.01,
            most=60,
        ),
    ),
    label="Interactive Brokers",
    account="As TWS shows it: U1234567, or DU1234567 where it is a paper account.",
)
