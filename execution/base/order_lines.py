"""Lines about single orders in the log of a process: about to be sent, filled, failed.

The execution log in the database has every step of every order; these lines are for what reads the
output of a process. They state no credentials and no text of a broker. A process writes at most
LINES_A_SECOND of them, and states in the next one how many it left out.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import structlog
from django.db import transaction

from common.clocks import machine_time

T = TypeVar("T")
log = structlog.get_logger(__name__)
LINES_A_SECOND = 20
INITIATED, FILLED, FAILED = "order placement initiated", "order filled", "order failed"


class LineBudget:
    """How many lines may still be written in this second."""

    def __init__(self, clock: Callable[[], float] = machine_time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._second, self._written, self._left_out = 0, 0, 0

    def take(self, wanted: int) -> tuple[int, int]:
        """Return how many of these lines may be written, and how many were left out before them."""
        with self._lock:
            if (second := int(self._clock())) != self._second:
                self._second, self._written = second, 0
            granted = min(wanted, LINES_A_SECOND - self._written)
            before = self._left_out
            self._written += granted
            self._left_out = wanted - granted + (0 if granted else before)
            return granted, before if granted else 0


_budget = LineBudget()


def write_lines(event: str, of: Sequence[T], fields: Callable[[T], Mapping[str, Any]]) -> None:
    """Write a line for each, as far as there is room in this second."""
    granted, left_out = _budget.take(len(of))
    level = log.warning if event == FAILED else log.info
    for one in of[:granted]:
        more = {"lines_left_out_before": left_out} if left_out else {}
        level(event, **fields(one), **more)
        left_out = 0


def write_lines_on_commit(
    event: str, of: Sequence[T], fields: Callable[[T], Mapping[str, Any]]
) -> None:
    """The same once this transaction has committed. An error of it stops nothing else."""
    if of:
        transaction.on_commit(partial(write_lines, event, of, fields), robust=True)
