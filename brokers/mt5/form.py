"""The connection form of a MetaTrader 5 account. It needs no package."""

import re
from typing import Any

from brokers.connection_form import Form, OpenChangeRule, Secret, Setting, SettingType
from brokers.mt5.lookup import SETTLE_SECONDS
from brokers.mt5.own_terminal import MAIN
from brokers.mt5.server_time import read_zone
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
            return f"Write the pair of {name} as BASE/QUOTE, for example DAX/EUR."
    return ""


FORM = Form(
    settings=(
        Setting(
            "server",
            "Server",
            "Its exact name in the terminal's own login window: Broker-Live03.",
            required=True,
            while_open=OpenChangeRule.IDENTIFIES_ACCOUNT,
            is_destination=True,
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
            "Most brokers: America/New_York+7. Empty: measured by ticks; executions cannot be read"
            " until a tick has arrived.",
            check=_zone_error,
        ),
        Setting(
            "position_mode",
            "Positions",
            "As the account was opened. Empty: as read at the first call.",
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
            "Empty: yes on hedging accounts; no on netting ones, where one signal's stop would"
            " close another signal's position.",
            SettingType.SWITCH,
            while_open=OpenChangeRule.IDENTIFIES_ACCOUNT,
        ),
        Setting(
            "symbols",
            "Symbols with unusual names",
            'The broker\'s name, then ours: {"GER40.cash": "DAX/EUR"}. Suffixes are recognised.',
            SettingType.TABLE,
            check=_symbols_error,
            while_open=OpenChangeRule.LOCKED_BY_SYMBOL,
        ),
        Setting(
            "clock_symbol",
            "Symbol for the clock",
            "We read the server's time from its ticks, for example EURUSD. Empty: the symbols"
            " traded last.",
        ),
        Setting(
            "settle_seconds",
            "Settling time",
            "For so many seconds after a login or a send, a missing order is not counted absent.",
            SettingType.NUMBER,
            default=SETTLE_SECONDS,
            minimum=0,
            maximum=600,
        ),
        Setting(
            "reply_timeout",
            "Wait for an answer … seconds",
            "Without an answer by then, we look the order up.",
            SettingType.NUMBER,
            default=REPLY_SECONDS,
            minimum=1,
            maximum=120,
        ),
    ),
    secrets=(
        Secret(
            "password",
            "Trading password",
            "The master password; the investor's password is read-only.",
        ),
    ),
    label="MetaTrader 5",
    account="The login number that the terminal displays.",
    numbered_by="server",
)
