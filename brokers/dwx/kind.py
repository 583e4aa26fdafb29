"""What an owner fills in for a terminal, and what an account in it can do. Needs no library."""

from datetime import timedelta
from functools import cache
from typing import Any

from brokers.dwx.line import HISTORY_DAYS, days_of
from brokers.dwx.lots import LotsError, lots_of, symbols_of
from brokers.dwx.patience import Patience
from brokers.dwx.times import NEW_YORK_CLOSE, Zone
from brokers.form import Form, Secret, Setting, SettingKind, WhileOpen
from brokers.messages import (
    Capabilities,
    ConnectionSpec,
    ExitSafety,
    OrderType,
    PositionMode,
    TimeInForce,
)


def _zone(name: str) -> str:
    try:
        Zone(name)
    except ValueError as error:
        return str(error)
    return ""


def _symbols(said: Any) -> str:
    try:
        for name in symbols_of({"symbols": said}):
            lots_of({"symbols": said}, name)
    except LotsError as error:
        return str(error)
    return ""


def _wait(key: str, label: str, hint: str) -> Setting:
    return Setting(
        f"{key}_seconds", label, hint, SettingKind.NUMBER, getattr(Patience(), key),
        least=0.05, most=600,
    )  # fmt: skip


FORM = Form(
    settings=(
        Setting(
            "folder", "Folder", "The name of the terminal's folder; the operators know it.",
            SettingKind.FOLDER, required=True, while_open=WhileOpen.STAYS,
        ),
        Setting(
            "symbols", "Symbols",
            "As in Market Watch, suffix and all: EURUSD.m, XAUUSD. For what is no currency pair and"
            " no metal say contract_size and digits:"
            ' {"GER40": {"contract_size": "1", "digits": 1}}.',
            SettingKind.SYMBOLS, required=True, check=_symbols, while_open=WhileOpen.NAMES_STAY,
        ),
        Setting(
            "server_zone", "Time zone of Market Watch",
            "NY+7 (UTC+2, in New York's summer UTC+3: most brokers), UTC+3 or Europe/Moscow.",
            default=NEW_YORK_CLOSE, check=_zone,
        ),
        Setting(
            "history_days", "Look back … days", "How far back orders and fills are looked up.",
            SettingKind.WHOLE, HISTORY_DAYS, least=1, most=3600,
        ),
        _wait("take", "Wait for the terminal … seconds", "A command not taken then is withdrawn."),
        _wait("answer", "Wait for an outcome … seconds", "An order without one is then unknown."),
        _wait("stale", "Heartbeat … seconds", "A terminal that wrote nothing so long is away."),
        _wait(
            "settle", "Absence counts after … seconds",
            "Until then an order without an answer may still be on its way to the broker.",
        ),
    ),
    secrets=(
        Secret(
            "password", "Folder key", "What stands in fillcast.key in the terminal's DWX folder."
        ),
    ),
    label="MetaTrader 4",
    account="The login number that the terminal shows.",
    numbered_by="folder",
)  # fmt: skip


def capabilities_of(spec: ConnectionSpec) -> Capabilities:
    """What an account can do, by what its connection's settings say of it."""
    return _capabilities(days_of(spec), str(spec.settings.get("folder") or ""))


@cache  # asked for each order of a bundle
def _capabilities(days: int, folder: str) -> Capabilities:
    return Capabilities(
        order_types=frozenset(OrderType),
        times_in_force=frozenset({TimeInForce.GTC}),
        native_stops=True,
        modify=True,
        position_modes=frozenset({PositionMode.HEDGING}),
        partial_close=True,
        event_stream=True,
        price_stream=True,
        lookup_horizon=timedelta(days=days),
        refuses_repeated_ids=False,
        exit_safety=ExitSafety.TICKET,
        session=True,
        session_key=f"mt4 {folder.casefold()}" if folder else "",  # all who name it, one process
        needs_credentials=True,
        fills_horizon=timedelta(days=days),
        quotes=True,
        refuses_reached=frozenset({OrderType.LIMIT, OrderType.STOP}),  # "invalid price"
        one_at_a_time=True,
        keeps_worst_price=True,
        checks_worst_price=True,  # a command has no field for it (`before.check_bound`)
    )
