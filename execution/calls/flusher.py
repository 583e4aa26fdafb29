"""The flusher: one thread that writes down what the wire brings, gathered for some milliseconds."""

import queue
import threading
import time
from collections.abc import Callable, Sequence

import structlog
from django.db import InterfaceError, OperationalError, connection

from brokers.messages import OrderReport
from common.faults import point
from execution.audit.tallies import count, new_reference
from execution.calls.errands import Done
from execution.drift.notes import set_aside
from execution.models import Tally
from execution.reports.apply import apply_reports
from execution.reports.beyond import apply_within_open, closes_too_much

log = structlog.get_logger(__name__)
GATHER_SECONDS = 0.010
FLUSH_MAX = 500
RETRY_SECONDS = 0.2
AWAY = (OperationalError, InterfaceError)
Told = list[OrderReport] | Done | threading.Event


def apply_or_halve(
    reports: Sequence[OrderReport], stop: threading.Event | None = None
) -> list[OrderReport]:
    """Apply reports whatever happens; return those that must be told again later.

    A deadlock is retried and a lost database waited for. What cannot be written for its own sake
    (a constraint, our own arithmetic) is halved until it stands alone, and becomes drift; of an
    exit beyond what is open, only what is beyond.
    """
    stop = stop or threading.Event()
    deferred: list[OrderReport] = []
    waiting = [list(reports)]
    while waiting and not stop.is_set():
        batch = waiting.pop()
        try:
            deferred += apply_reports(batch).deferred
        except AWAY as error:  # deadlock, lock time-out, or the database is away
            log.warning("flush is tried again", reports=len(batch), error=str(error).strip())
            connection.close()
            waiting.append(batch)
            stop.wait(RETRY_SECONDS)
        except Exception as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                waiting += [batch[middle:], batch[:middle]]
            elif not _kept(batch[0], error):
                waiting.append(batch)
    if 0 < len(deferred) < len(reports):  # what they waited for may have been written just now
        return apply_or_halve(deferred, stop)
    return deferred


def _kept(report: OrderReport, fault: Exception) -> bool:
    """Apply what can be applied of a report, else set it aside; False: the database is away, so try
    it again."""
    try:
        if closes_too_much(fault) and apply_within_open(report):
            log.error("an exit executed more than is open", order=report.client_order_id)
            return True
    except AWAY:
        connection.close()
        return False
    except Exception as another:
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
    except AWAY:
        connection.close()
        return False
    except Exception:
        log.exception("a report was dropped", report=repr(report))
    return True


def write_down(done: Sequence[Done]) -> None:
    """Hand what came of errands to whoever wanted it, all of one kind at once.

    What cannot be written is told to the log: it is still wanted on its row, and asked again.
    """
    by_writer: dict[Callable[[Sequence[Done]], object], list[Done]] = {}
    for one in done:
        by_writer.setdefault(one.errand.write, []).append(one)
    if failed := [one for one in done if one.failed]:  # thousands of a host are one line
        log.warning("errands were not answered", errands=len(failed), first=repr(failed[0].answer))
    for write, those in by_writer.items():
        try:
            write(those)
        except Exception:
            log.exception("what errands brought was not written", errands=len(those))
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
                    apply_or_halve(batch)
                    self._note(batch)
                except Exception:  # without this thread nothing would be written any more
                    log.exception("a flush failed", reports=len(batch))
            done, self._done = self._done, []
            write_down(done)
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
        self._sort(self._outbox.get(), batch)
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
