"""How far a terminal has been told. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from brokers.dwx.parse import Snapshot


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a terminal has been told. open: what was open, by ticket whether it waits and its
    lots and whose; last: the highest execution's number, where executions have some."""

    open: Mapping[int, "Open"]
    last: int = 0


class Open(NamedTuple):
    """What is kept of a ticket that is open."""

    waits: bool
    lots: Decimal
    magic: int


def open_now(snapshot: Snapshot) -> dict[int, Open]:
    """What is open, as a Mark keeps it."""
    return {t.number: Open(not t.is_position, t.lots, t.magic) for t in snapshot.tickets}
