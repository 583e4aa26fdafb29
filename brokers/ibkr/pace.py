"""A session's times, and what one reading of the orders brings."""

import asyncio
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take, in seconds."""

    connect: float = 5.0
    read: float = 10.0
    reply: float = 10.0
    first_delay: float = 1.0  # before a line is opened anew; doubled each time
    longest_delay: float = 30.0
    client_id_delay: float = 5.0  # at least, when TWS still knows the old session (326)
    ping: float = 10.0
    resync: float = 60.0
    cut_off: float = 60.0  # so long may TWS be without IBKR before the line is made anew


@dataclass(slots=True)
class Snapshot:
    """What the broker has of orders: the open ones as they came, today's executions."""

    open: list[Any]
    executions: list[Any]


def retrieve(task: "asyncio.Task[Snapshot]") -> None:
    """Look at a reading's failure, so that nobody is warned where all who asked are gone."""
    if not task.cancelled():
        task.exception()
