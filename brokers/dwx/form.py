"""The connection form of a terminal. It needs no library."""

from typing import Any

from brokers.connection_form import Form, OpenChangeRule, Secret, Setting, SettingType
from brokers.dwx.client import HISTORY_DAYS
from brokers.dwx.lots import LotsError, lots_of, symbols_of
from brokers.dwx.server_time import NEW_YORK_CLOSE, Zone
from brokers.dwx.timeouts import Timeouts


def _zone_error(name: str) -> str:
    try:
        Zone(name)
    except ValueError as error:
        return str(error)
    return ""


def _symbols_error(value: Any) -> str:
    try:
        for name in symbols_of({"symbols": value}):
            lots_of({"symbols": value}, name)
    except LotsError as error:
        return str(error)
    return ""


def seconds_setting(key: str, label: str, hint: str) -> Setting:
    """Return the setting of one of the `Timeouts`."""
    return Setting(
        f"{key}_seconds", label, hint, SettingType.NUMBER, getattr(Timeouts(), key),
        minimum=0.05, maximum=600,
    )  # fmt: skip


FORM = Form(
    settings=(
        Setting(
            "folder", "Folder", "The name of the terminal's folder; ask the operators for it.",
            SettingType.FOLDER, required=True, while_open=OpenChangeRule.IDENTIFIES_ACCOUNT,
            is_destination=True,
        ),
        Setting(
            "symbols", "Symbols",
            "As in Market Watch, with the suffix: EURUSD.m, XAUUSD. For symbols other than currency"
            " pairs and metals, set contract_size and digits:"
            ' {"GER40": {"contract_size": "1", "digits": 1}}.',
            SettingType.SYMBOLS, required=True, check=_symbols_error,
            while_open=OpenChangeRule.LOCKED_BY_SYMBOL,
        ),
        Setting(
            "server_zone", "Time zone of Market Watch",
            "NY+7 (UTC+2, in New York's summer UTC+3: most brokers), UTC+3 or Europe/Moscow.",
            default=NEW_YORK_CLOSE, check=_zone_error,
        ),
        Setting(
            "history_days", "Look back … days", "How far back orders and fills are looked up.",
            SettingType.WHOLE, HISTORY_DAYS, minimum=1, maximum=3600,
        ),
        seconds_setting(
            "take", "Wait for the terminal … seconds", "A command not taken then is withdrawn."
        ),
        seconds_setting(
            "answer", "Wait for an outcome … seconds", "An order without one is then unknown."
        ),
        seconds_setting(
            "stale", "Heartbeat … seconds", "A terminal without a write for so long is down."
        ),
        seconds_setting(
            "settle", "Absence counts after … seconds",
            "Until then an order without an answer may still be on its way to the broker.",
        ),
    ),
    secrets=(
        Secret(
            "password", "Folder key", "The content of fillcast.key in the terminal's DWX folder."
        ),
    ),
    label="MetaTrader 4",
    account="The login number that the terminal displays.",
    numbered_by="folder",
)  # fmt: skip
