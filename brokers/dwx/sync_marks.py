"""How far a terminal was reported, and which levels its positions had then. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from brokers.dwx.parse import Snapshot


@dataclass(frozen=True, slots=True)
class SyncMark:
    """How far a terminal was reported. open: the open tickets by number; last: the highest number
    of an execution, if executions have numbers; waiting: those up to it that are not reported
    yet."""

    open: Mapping[int, "OpenTicket"]
    last: int = 0
    waiting: Mapping[int, "WaitingClose"] = field(default_factory=dict)

    def is_due(self, now: datetime) -> bool:
        """Whether something that waited can be reported."""
        return not all(one.waits(now) for one in self.waiting.values())


class OpenTicket(NamedTuple):
    """The state of an open ticket. waits: it is a working order."""

    waits: bool
    lots: Decimal
    magic: int


class WaitingClose(NamedTuple):
    """A close that is not reported yet: the server may open again what it has closed.

    magic: the position's; since: when it was closed, or first seen."""

    magic: int
    since: datetime
    until: datetime

    def waits(self, now: datetime) -> bool:
        """Whether it still waits; not if the clock was set back."""
        return self.since <= now < self.until


class HeldLevelFlags(NamedTuple):
    """Which levels a position has. Their prices are left out: reconciliation finds changed ones."""

    stop: bool
    target: bool


def levels_now(snapshot: Snapshot, roots: Mapping[int, int]) -> dict[int, HeldLevelFlags]:
    """Which levels each position has, by its first ticket. roots: the first tickets."""
    return {
        roots.get(t.number, t.number): HeldLevelFlags(
            t.stop_loss is not None, t.take_profit is not None
        )
        for t in snapshot.tickets
        if t.is_position
    }


def open_now(snapshot: Snapshot) -> dict[int, OpenTicket]:
    """What is open, as a Mark keeps it."""
    return {t.number: OpenTicket(not t.is_position, t.lots, t.magic) for t in snapshot.tickets}
