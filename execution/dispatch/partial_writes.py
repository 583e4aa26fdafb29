"""Write many items at once, and in parts if that fails: one item must not block the others."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog
from django.db import DatabaseError, InterfaceError, connection, transaction

from common.db.errors import is_database_trouble, is_too_much
from common.db.sql import run
from common.errors import CONTENT_ERRORS

log = structlog.get_logger(__name__)
RETRY_SECONDS = 0.2
LOCK_WAIT_MS = 200  # lock time-out of a part after the first failure
PASS_SECONDS = 5.0  # after the first failure; items not written by then wait for the next pass
T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class WriteResult(Generic[T, R]):
    """What was written. results: of each part, in order. blocked: items that were not written
    because other sessions have locked their rows or the time was over, in order."""

    results: list[R] = field(default_factory=list)
    blocked: list[T] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WritePlan(Generic[T, R]):
    """How to write items. write: writes all of them or none; it may be called again, with parts.

    on_bad_item: gets an item that cannot be written because of what it contains; False: retry it.
    split: returns the items whose rows are free, and those whose rows another session has locked,
    without waiting. None: `write` makes its own transactions, and locks cannot be found in advance.
    """

    write: Callable[[list[T]], R]
    on_bad_item: Callable[[T, Exception], bool]
    split: Callable[[list[T]], tuple[list[T], list[T]]] | None = None


def write_in_parts(
    items: Sequence[T],
    writing: WritePlan[T, R],
    *,
    expect_locks: bool = False,
    stop: threading.Event | None = None,
) -> WriteResult[T, R]:
    """Write items at once, or in parts if that fails, in order.

    If the database is unavailable it waits. After a lock or statement time-out, items whose rows
    other sessions have locked are found without waiting and returned as blocked; the others are
    written with a short lock time-out and within `PASS_SECONDS`. expect_locks: do so from the
    beginning. A part that fails because of an item is halved until that item is alone. stop: ends
    between two parts.
    """
    return _Pass(writing, items, expect_locks, stop or threading.Event()).run()


class _Pass(Generic[T, R]):
    """One call of `write_in_parts`."""

    def __init__(
        self,
        writing: WritePlan[T, R],
        items: Sequence[T],
        expect_locks: bool,
        stop: threading.Event,
    ) -> None:
        self._writing, self._stop = writing, stop
        self._waiting = [list(items)]  # parts; the next one is the last
        self._parts: WriteResult[T, R] = WriteResult()
        self._until: float | None = None  # set once something has failed
        if expect_locks:
            self._expect_locks()

    def run(self) -> WriteResult[T, R]:
        """Write all parts that can be written."""
        while self._waiting and not self._stop.is_set():
            if self._is_over():
                self._parts.blocked += [item for part in self._waiting[::-1] for item in part]
                break
            part = self._without_locked(self._waiting.pop())
            try:
                if part:
                    self._parts.results.append(self._write(part))
            except Exception as error:  # any: an item's content may break any line of `write`
                self._after(part, error)
        return self._parts

    def _is_over(self) -> bool:
        """Return whether the pass must end. Not before some item is written or blocked: so each
        pass makes progress."""
        has_progress = self._parts.results or self._parts.blocked
        return bool(has_progress) and self._until is not None and time.monotonic() > self._until

    def _expect_locks(self) -> None:
        self._until = self._until or time.monotonic() + PASS_SECONDS

    def _without_locked(self, part: list[T]) -> list[T]:
        if self._until is None or self._writing.split is None:
            return part
        try:
            free, locked = self._writing.split(part)
        except (DatabaseError, InterfaceError, *CONTENT_ERRORS) as error:
            if is_database_trouble(error):
                self._wait(part, error)
                return []
            log.exception("locked rows not found", items=len(part))
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
        """Retry, halve or block a part that was not written."""
        if not is_database_trouble(error):
            if len(part) > 1:
                self._waiting += _halves(part)
            elif not self._writing.on_bad_item(part[0], error):
                self._expect_locks()
                self._wait(part, error)
            return
        if not is_too_much(error):
            self._wait(part, error)
            return
        log.warning("write timed out", items=len(part), error=str(error).strip())
        connection.close()
        if self._until is None and self._writing.split is not None:
            self._waiting.append(part)
        elif len(part) > 1:
            self._waiting += _halves(part)
        else:
            self._parts.blocked += part
        self._expect_locks()

    def _wait(self, part: list[T], error: Exception) -> None:
        """Retry a part after a pause. Time without the database does not count."""
        log.warning("write will be retried", items=len(part), error=str(error).strip())
        connection.close()
        self._waiting.append(part)
        self._stop.wait(RETRY_SECONDS)
        if self._until is not None and is_database_trouble(error) and not is_too_much(error):
            self._until = time.monotonic() + PASS_SECONDS


def _halves(part: list[T]) -> list[list[T]]:
    """Return both halves, the first one last: parts are taken from the end."""
    middle = len(part) // 2
    return [part[middle:], part[:middle]]
