"""The flusher: one thread that writes down what the wire brings, gathered for some milliseconds."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeVar

import structlog
from django.db import connection

from brokers.messages import OrderReport
from common.database_errors import is_database_trouble, is_too_much
from common.faults import point
from execution.audit.tallies import count, new_reference
from execution.calls import held
from execution.calls.errands import Done
from execution.drift.notes import set_aside
from execution.models import Tally
from execution.reports.apply import apply_reports
from execution.reports.beyond import apply_within_open, closes_too_much, may_be_early

log = structlog.get_logger(__name__)
GATHER_SECONDS = 0.010
FLUSH_MAX = 500
RETRY_SECONDS = 0.2
Told = list[OrderReport] | Done | threading.Event
T = TypeVar("T")


class Fate(Enum):
    """What becomes of a report that could not be written."""

    KEPT = auto()  # as far as it fits, or as a difference
    LATER = auto()  # what it waits for may still be told
    AGAIN = auto()  # the database is away


@dataclass(slots=True)
class Left:
    """Reports that were not applied and must be told again later. deferred: they wait for others.
    blocked: even alone they could not get their rows in time."""

    deferred: list[OrderReport] = field(default_factory=list)
    blocked: list[OrderReport] = field(default_factory=list)

    @property
    def reports(self) -> list[OrderReport]:
        """All of them."""
        return self.deferred + self.blocked


def apply_or_halve(
    reports: Sequence[OrderReport], stop: threading.Event | None = None, *, patient: bool = True
) -> Left:
    """Apply reports whatever happens; return those that must be told again later.

    A lost database is waited for. What ran into a deadlock or waited too long for rows is halved,
    down to the reports that are blocked, and the others go first: one locked row holds up its own
    report only. What cannot be written for its own sake (a constraint, our own arithmetic) is
    halved until it stands alone, and becomes drift; of an exit beyond what is open, only what is
    beyond, and only once it has been told to somebody who is not `patient`, or no fill of its entry
    can come any more.
    """
    stop = stop or threading.Event()
    left, waiting = Left(), [list(reports)]
    while waiting and not stop.is_set():
        batch = waiting.pop()
        try:
            left.deferred += apply_reports(batch, patient=patient).deferred
        except Exception as error:
            if is_database_trouble(error):
                left.blocked += [] if _try_again(batch, error, waiting) else batch
                stop.wait(RETRY_SECONDS)
            elif len(batch) > 1:
                waiting += _halves(batch)
            else:
                fate = _keep(batch[0], error, patient)
                waiting += [batch] if fate is Fate.AGAIN else []
                left.deferred += batch if fate is Fate.LATER else []
    if 0 < len(left.deferred) < len(reports):  # what they waited for may have been written just now
        again = apply_or_halve(left.deferred, stop, patient=patient)
        return Left(again.deferred, again.blocked + left.blocked)
    return left


def _try_again(batch: list[T], error: Exception, waiting: list[list[T]]) -> bool:
    """Have what met the database's trouble written again: all of it where the database was away,
    in halves and after the others where it waited or worked too long. False: it is blocked alone.
    """
    log.warning("flush is tried again", items=len(batch), error=str(error).strip())
    connection.close()
    if not is_too_much(error):
        waiting.append(batch)
        return True
    if len(batch) > 1:
        waiting[:0] = _halves(batch)
    return len(batch) > 1


def _halves(batch: list[T]) -> list[list[T]]:
    """The first half last, where it is taken from."""
    middle = len(batch) // 2
    return [batch[middle:], batch[:middle]]


def _keep(report: OrderReport, fault: Exception, patient: bool) -> Fate:
    """Apply what can be applied of a report, else set it aside."""
    try:
        if closes_too_much(fault):
            if patient and may_be_early(report):
                return Fate.LATER
            if apply_within_open(report):
                log.error("an exit executed more than is open", order=report.client_order_id)
                return Fate.KEPT
    except Exception as another:
        if is_database_trouble(another):
            connection.close()
            return Fate.AGAIN
        fault = another
    reference = new_reference()
    log.error(
        "a report cannot be applied", order=report.client_order_id, reference=reference,
        exc_info=fault,
    )  # fmt: skip
    try:
        if not set_aside(report, fault, reference):
            log.error("a report about nobody's connection was dropped", report=repr(report))
            count(Tally.Name.NOBODYS_REPORT, repr(report))
    except Exception as another:
        if is_database_trouble(another):
            connection.close()
            return Fate.AGAIN
        log.exception("a report was dropped", report=repr(report))
    return Fate.KEPT


def apply_or_hold(reports: Sequence[OrderReport]) -> None:
    """Apply reports that nobody tells again; what must wait for others is held in this process."""
    held.waiting.keep(apply_or_halve(reports).reports)


def try_held() -> None:
    """Apply what was held: all of it once more, and as far as it fits what has waited its time."""
    try:
        still, over = held.waiting.take()
        if still:
            _put_back(still, apply_or_halve([one.report for one in still]).reports)
        if over:
            left = apply_or_halve([one.report for one in over], patient=False)
            _put_back(over, left.blocked)
            for report in left.deferred:
                log.error("what waited was not applied", report=repr(report))
                count(Tally.Name.NOBODYS_REPORT, repr(report))
    except Exception:
        log.exception("what was held could not be tried")
        connection.close()


def _put_back(taken: Sequence[held.Held], left: Sequence[OrderReport]) -> None:
    kept = {id(report) for report in left}
    held.waiting.put_back([one for one in taken if id(one.report) in kept])


def write_down(done: Sequence[Done], stop: threading.Event | None = None) -> None:
    """Hand what came of errands to whoever wanted it, all of one kind at once.

    A lost database is waited for, and a locked row holds up its own answer only. What cannot be
    written is logged: it is still wanted on its row, and asked again.
    """
    by_writer: dict[Callable[[Sequence[Done]], object], list[Done]] = {}
    for one in done:
        by_writer.setdefault(one.errand.write, []).append(one)
    if failed := [one for one in done if one.failed]:  # thousands of a host are one line
        log.warning("errands were not answered", errands=len(failed), first=repr(failed[0].answer))
    for write, those in by_writer.items():
        _write_or_halve(write, those, stop or threading.Event())


def _write_or_halve(
    write: Callable[[Sequence[Done]], object], done: list[Done], stop: threading.Event
) -> None:
    waiting = [done]
    while waiting and not stop.is_set():
        batch = waiting.pop()
        try:
            write(batch)
        except Exception as error:
            if is_database_trouble(error) and _try_again(batch, error, waiting):
                stop.wait(RETRY_SECONDS)
            else:
                log.exception("what errands brought was not written", errands=len(batch))
                connection.close()


class Flusher(threading.Thread):
    """Empties the wire's outbox into apply_reports until told to stop."""

    def __init__(
        self,
        outbox: "queue.SimpleQueue[Told]",
        note: Callable[[Sequence[OrderReport]], None] = lambda _: None,
    ) -> None:
        super().__init__(daemon=True, name="flusher")
        self._note = note
        self._outbox, self._stop_asked = outbox, threading.Event()
        self._waiting: list[threading.Event] = []
        self._done: list[Done] = []

    def run(self) -> None:
        while not self._stop_asked.is_set():
            batch = self._gather()
            if batch:
                point("flush.gathered")
                try:
                    apply_or_hold(batch)
                    self._note(batch)
                except Exception:  # without this thread nothing would be written any more
                    log.exception("a flush failed", reports=len(batch))
            done, self._done = self._done, []
            write_down(done, self._stop_asked)
            try_held()
            while self._waiting:
                self._waiting.pop().set()
        connection.close()

    def drain(self, timeout: float) -> bool:
        """Wait until all that was told is written; False when the time is over first."""
        written = threading.Event()
        self._outbox.put(written)
        return written.wait(timeout)

    def stop(self) -> None:
        """End after the batch in hand."""
        self._stop_asked.set()
        self._outbox.put([])

    def _gather(self) -> list[OrderReport]:
        batch: list[OrderReport] = []
        try:
            self._sort(self._outbox.get(timeout=held.AGAIN_SECONDS), batch)
        except queue.Empty:
            return batch
        until = time.monotonic() + GATHER_SECONDS
        while len(batch) + len(self._done) < FLUSH_MAX:
            try:
                self._sort(self._outbox.get(timeout=max(0.0, until - time.monotonic())), batch)
            except queue.Empty:
                break
        return batch

    def _sort(self, told: Told, batch: list[OrderReport]) -> None:
        if isinstance(told, threading.Event):
            self._waiting.append(told)  # somebody who waits for all that came before
        elif isinstance(told, Done):
            self._done.append(told)
        else:
            batch += told
