"""What an owner fills in for a MetaTrader 5 account, and what one can do. No package is needed."""

import re
from functools import cache
from typing import Any

from brokers.form import Form, Secret, Setting, SettingKind, WhileOpen
from brokers.messages import (
    Capabilities,
    ConnectionSpec,
    ExitSafety,
    OrderType,
    PositionMode,
    TimeInForce,
)
from brokers.mt5.lookup import HORIZON, SETTLE_SECONDS
from brokers.mt5.server_time import read_zone
from brokers.mt5.session import MAIN, terminal_of

REPLY_SECONDS = 30.0
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def _zone_is_wrong(text: str) -> str:
    try:
        read_zone(text)
    except ValueError:
        return "Write it as America/New_York+7, Europe/Athens or UTC+2."
    return ""


def _name_is_wrong(text: str) -> str:
    return "" if _NAME.fullmatch(text) else "Write a-z, 0-9, _ and - only, at most 32 characters."


def _symbols_are_wrong(symbols: Any) -> str:
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
            while_open=WhileOpen.STAYS,
        ),
        Setting(
            "terminal",
            "Terminal",
            "Which of the operators' terminals serves this account.",
            default=MAIN,
            check=_name_is_wrong,
        ),
        Setting(
            "server_timezone",
            "The server's time zone",
            "Most brokers: America/New_York+7. Empty: measured by ticks; until one has come,"
            " executions cannot be read.",
            check=_zone_is_wrong,
        ),
        Setting(
            "position_mode",
            "Positions",
            "As the account was opened. Empty: as seen at the first call.",
            SettingKind.CHOICE,
            choices=(
                (PositionMode.HEDGING, "Hedging: several on one symbol"),
                (PositionMode.NETTING, "Netting: one on each symbol"),
            ),
            while_open=WhileOpen.STAYS,
        ),
        Setting(
            "native_stops",
            "Stop and target at the broker",
            "Empty: yes on hedging accounts; no on netting ones, where one signal's would close"
            " another's.",
            SettingKind.SWITCH,
            while_open=WhileOpen.STAYS,
        ),
        Setting(
            "symbols",
            "Symbols whose names say nothing",
            'The broker\'s name, then ours: {"GER40.cash": "DAX/EUR"}. Suffixes are understood.',
            SettingKind.TABLE,
            check=_symbols_are_wrong,
            while_open=WhileOpen.NAMES_STAY,
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
            SettingKind.NUMBER,
            default=SETTLE_SECONDS,
            least=0,
            most=600,
        ),
        Setting(
            "reply_timeout",
            "Patience",
            "Seconds to wait for the server's answer; what has not come by then is looked up.",
            SettingKind.NUMBER,
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


RESTING = frozenset({OrderType.LIMIT, OrderType.STOP})


def lane_of(spec: ConnectionSpec) -> str:
    """The queue of the worker beside that terminal; nobody else may call for the account."""
    return f"mt5.{terminal_of(spec)}"


def believed_mode(spec: ConnectionSpec) -> PositionMode:
    """The position mode by the settings, before the account was seen."""
    said = spec.settings.get("position_mode")
    return PositionMode(said) if said in set(PositionMode) else PositionMode.HEDGING


def capabilities_of(spec: ConnectionSpec, seen: PositionMode | None = None) -> Capabilities:
    """Return what an account can do. seen: its mode, where a process has seen it."""
    mode = seen or believed_mode(spec)
    said = spec.settings.get("native_stops")
    default = mode is PositionMode.HEDGING
    return _capabilities(mode, bool(said) if said is not None else default, lane_of(spec))


@cache
def _capabilities(mode: PositionMode, native_stops: bool, lane: str) -> Capabilities:
    """Exits of a hedging account name their position's ticket, and the server refuses more than it
    holds (10036, 10038): TICKET. On a netting account any order the other way reduces, and beyond
    what is held it reverses; nothing in the API forbids it: CANCEL_FIRST. There stop and target
    belong to the whole position, so that one signal's would close another's: we watch them, unless
    the owner says `native_stops`."""
    hedging = mode is PositionMode.HEDGING
    return Capabilities(
        order_types=frozenset(OrderType),
        times_in_force=frozenset(TimeInForce),
        native_stops=native_stops,
        modify=True,
        position_modes=frozenset([mode]),
        partial_close=True,
        event_stream=False,  # the package calls nobody back: it is polled
        price_stream=True,
        lookup_horizon=HORIZON,
        refuses_repeated_ids=False,
        exit_safety=ExitSafety.TICKET if hedging else ExitSafety.CANCEL_FIRST,
        session=True,
        lane=lane,
        needs_credentials=True,
        submit_many=True,
        fills_horizon=HORIZON,
        quotes=True,
        what_if=True,
        # 10015; a dealer's server does, an exchange fills a limit order that it can fill at once.
        refuses_reached=RESTING if hedging else RESTING - {OrderType.LIMIT},
        one_at_a_time=True,
        tells_margin=True,
        keeps_worst_price=True,
        checks_worst_price=True,  # symbols with market execution (`orders.place`)
    )
