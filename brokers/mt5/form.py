"""What an owner fills in for a MetaTrader 5 account. No package is needed."""

import re
from typing import Any

from brokers.connection_form import Form, OpenChangeRule, Secret, Setting, SettingType
from brokers.mt5.lookup import SETTLE_SECONDS
from brokers.mt5.server_time import read_zone
from brokers.mt5.session import MAIN
from brokers.types import (
    PositionMode,
)

REPLY_SECONDS = 30.0

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def _zone_error(text: str) -> str:
    try:
        read_zone(text)
    except ValueError:
        return "Write it as America/New_York+7, Europe/Athens or UTC+2."
    return ""


def _terminal_name_error(text: str) -> str:
    return "" if _NAME.fullmatch(text) else "Write a-z, 0-9, _ and - only, at most 32 characters."


def _symbols_error(symbols: Any) -> str:
    for name, pair in symbols.items():
        if not isinstance(pair, str) or not re.fullmatch(r"[^/\s]+/[^/\s]+", pair):
            return f"Write of {name} which pair it is, as DAX/EUR."
    return ""


FORM = Form(
    settings=(
        Setting(
            "server",
            "Server",
            "Its name as the terminal's own login window shows it, to the letter: Broker-Live03.",
            required=True,
            while_open=OpenChangeRule.IDENTIFIES_ACCOUNT,
        ),
        Setting(
            "terminal",
            "Terminal",
            "Which of the operators' terminals serves this account.",
            default=MAIN,
            check=_terminal_name_error,
        ),
        Setting(
            "server_timezone",
            "The server's time zone",
            "Most brokers: America/New_York+7. Empty: measured by ticks; until one has come,"
            " executions cannot be read.",
            check=_zone_error,
        ),
        Setting(
            "position_mode",
            "Positions",
            "As the account was opened. Empty: as seen at the first call.",
            SettingType.CHOICE,
            choices=(
                (PositionMode.HEDGING, "Hedging: several on one symbol"),
                (PositionMode.NETTING, "Netting: one on each symbol"),
            ),
            while_open=OpenChangeRule.IDENTIFIES_ACCOUNT,
        ),
        Setting(
            "native_stops",
            "Stop and target at the broker",
            "Empty: yes on hedging accounts; no on netting ones, where one signal's would close"
            " another's.",
            SettingType.SWITCH,
            while_open=OpenChangeRule.IDENTIFIES_ACCOUNT,
        ),
        Setting(
            "symbols",
            "Symbols whose names say nothing",
            'The broker\'s name, then ours: {"GER40.cash": "DAX/EUR"}. Suffixes are understood.',
            SettingType.TABLE,
            check=_symbols_error,
            while_open=OpenChangeRule.LOCKED_BY_SYMBOL,
        ),
        Setting(
            "clock_symbol",
            "Symbol for the clock",
            "Its ticks tell the server's time, EURUSD for example. Empty: those traded last.",
        ),
        Setting(
            "settle_seconds",
            "Settling time",
            "Seconds after a login or a send in which an absent order is not believed absent.",
            SettingType.NUMBER,
            default=SETTLE_SECONDS,
            least=0,
            most=600,
        ),
        Setting(
            "reply_timeout",
            "Patience",
            "Seconds to wait for the server's answer; what has not come by then is looked up.",
            SettingType.NUMBER,
            default=REPLY_SECONDS,
            least=1,
            most=120,
        ),
    ),
    secrets=(
        Secret(
            "password",
            "Trading password",
            "The master password; the investor's only reads.",
        ),
    ),
    label="MetaTrader 5",
    account="The login number that the terminal shows.",
    numbered_by="server",
)
