"""The two MetaTraders: their files differ in the open orders and in the history."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from brokers.dwx import close_by, mt5_deals, parse
from brokers.dwx.history_cache import TerminalHistory
from brokers.dwx.mt4_reports import Mt4Reports
from brokers.dwx.mt5_reports import Mt5Reports
from brokers.dwx.parse import Snapshot


@dataclass(frozen=True, slots=True)
class Platform:
    """The file formats of one MetaTrader. by_deals: only the history lists executions."""

    name: str
    expert: str
    by_deals: bool
    snapshot: Callable[[bytes], Snapshot]
    history: Callable[[TerminalHistory, bytes], tuple[Any, ...]]
    books: type[Mt4Reports]


MT4 = Platform(
    "MetaTrader 4", "DWX_Server_MT4", False, parse.snapshot, close_by.history, Mt4Reports
)
MT5 = Platform(
    "MetaTrader 5", "DWX_Server_MT5", True, mt5_deals.snapshot, mt5_deals.history, Mt5Reports
)
