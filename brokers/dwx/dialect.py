"""The two MetaTraders: their files differ in what is open and in what the history tells."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from brokers.dwx import deals, parse
from brokers.dwx.dealbooks import DealBooks
from brokers.dwx.parse import Snapshot
from brokers.dwx.past import Past
from brokers.dwx.reports import Books


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one of them writes. by_deals: executions stand in the history and nowhere else."""

    name: str
    expert: str
    by_deals: bool
    snapshot: Callable[[bytes], Snapshot]
    history: Callable[[Past, bytes], tuple[Any, ...]]
    books: type[Books]


MT4 = Dialect("MetaTrader 4", "DWX_Server_MT4", False, parse.snapshot, parse.history, Books)
MT5 = Dialect("MetaTrader 5", "DWX_Server_MT5", True, deals.snapshot, deals.history, DealBooks)
