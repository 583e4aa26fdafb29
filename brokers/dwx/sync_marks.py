"""How far a terminal has been told, and which levels its positions had then. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from brokers.dwx.parse import Snapshot


@dataclass(frozen=True, slots=True)
class SyncMark:
    """How far a terminal has been told. open: what was open, by ticket whether it waits and its
    lots and whose; last: the highest execution's number, where executions have some."""

    open: Mapping[int, "OpenTicket"]
    last: int = 0


class OpenTicket(NamedTuple):
    """What is kept of a ticket that is open."""

    waits: bool
    lots: Decimal
    magic: int


class HeldLevelFlags(NamedTuple):
    """Which levels a position has. Their prices are not kept: one that was moved is a difference
    for people to decide, as after each comparison."""

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
