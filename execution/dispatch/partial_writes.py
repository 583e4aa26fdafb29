"""Write many items at once, and in parts where that fails: one item's trouble is its own."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog
from django.db import connection, transaction

from common.database_errors import is_database_trouble, is_too_much
from common.sql import run

log = structlog.get_logger(__name__)
RETRY_SECONDS = 0.2
LOCK_WAIT_MS = 200  # how long a part waits for a row after the first failure
PASS_SECONDS = 5.0  # after the first failure; what is not written then waits for the next pass
T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class WriteResult(Generic[T, R]):
    """results: of each part that was written. blocked: not written, because other sessions hold
    their rows or the time was over; in their sequence."""

    results: list[R] = field(default_factory=list)
    blocked: list[T] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WritePlan(Generic[T, R]):
    """How items are written. write: all of them or none (it is run again, whole or in parts).

    alone: takes an item that cannot be written for its own sake; False: have it tried again.
    split: returns the items whose rows are free, and those whose rows another session holds,
    without waiting for any. None: they are not known; then `write` makes its own transactions.
    """

    write: Callable[[list[T]], R]
    on_bad_item: Callable[[T, Exception], bool]
    split: Callable[[list[T]], tuple[list[T], list[T]]] | None = None


def write_in_parts(
    items: Sequence[T],
    writing: WritePlan[T, R],
    *,
    careful: bool = False,
    stop: threading.Event | None = None,
) -> WriteResult[T, R]:
    """Write items at once; in parts where that fails, in their sequence.

    A lost database is waited for. Once something has waited or worked for too long, the items whose
    rows other sessions hold are found without waiting and are blocked; the others are written with
    a short wait for locks and within `PASS_SECONDS`. careful: so from the beginning. What breaks a
    part for its own sake is halved until it stands alone.
    """
    return _Pass(writing, items, careful, stop or threading.Event()).run()


class _Pass(Generic[T, R]):
    def __init__(
        self, writing: WritePlan[T, R], items: Sequence[T], careful: bool, stop: threading.Event
    ) -> None:
        self._writing, self._stop = writing, stop
        self._waiting = [list(items)]  # the next one last
        self._parts: WriteResult[T, R] = WriteResult()
        self._until: float | None = None  # since something has failed
        if careful:
            self._be_careful()

    def run(self) -> WriteResult[T, R]:
        while self._waiting and not self._stop.is_set():
            if self._is_over():
                self._parts.blocked += [one for part in self._waiting[::-1] for one in part]
                break
            part = self._without_locked(self._waiting.pop())
            try:
                if part:
                    self._parts.results.append(self._write(part))
            except Exception as error:
                self._after(part, error)
        return self._parts

    def _is_over(self) -> bool:
        """Never before something is written or known to be blocked: each pass leaves less."""
        has_moved = self._parts.results or self._parts.blocked
        return bool(has_moved) and self._until is not None and time.monotonic() > self._until

    def _be_careful(self) -> None:
        self._until = self._until or time.monotonic() + PASS_SECONDS

    def _without_locked(self, part: list[T]) -> list[T]:
        if self._until is None or self._writing.split is None:
            return part
        try:
            free, locked = self._writing.split(part)
        except Exception as error:
            if is_database_trouble(error):
                self._wait(part, error)
                return []
            log.exception("locked rows could not be found", items=len(part))
            return part
        self._parts.blocked += locked
        return free

    def _write(self, part: list[T]) -> R:
        if self._until is None or self._writing.split is None:
            return self._writing.write(part)
        with transaction.atomic():
            run(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
            return self._writing.write(part)

    def _after(self, part: list[T], error: Exception) -> None:
        """Decide what becomes of a part that was not written."""
        if not is_database_trouble(error):
            if len(part) > 1:
                self._waiting += _halves(part)
            elif not self._writing.on_bad_item(part[0], error):
                self._be_careful()
                self._wait(part, error)
            return
        if not is_too_much(error):
            self._wait(part, error)
            return
        log.warning("a write waited too long", items=len(part), error=str(error).strip())
        connection.close()
        if self._until is None and self._writing.split is not None:
            self._waiting.append(part)
        elif len(part) > 1:
            self._waiting += _halves(part)
        else:
            self._parts.blocked += part
        self._be_careful()

    def _wait(self, part: list[T], error: Exception) -> None:
        """Have a part tried again in a moment. While the database is away no time is counted."""
        log.warning("a write is tried again", items=len(part), error=str(error).strip())
        connection.close()
        self._waiting.append(part)
        self._stop.wait(RETRY_SECONDS)
        if self._until is not None and is_database_trouble(error) and not is_too_much(error):
            self._until = time.monotonic() + PASS_SECONDS


def _halves(part: list[T]) -> list[list[T]]:
    """The first half last, where it is taken from."""
    middle = len(part) // 2
    return [part[middle:], part[:middle]]
