"""The flusher: one thread that writes down what the wire brings, gathered for some milliseconds."""

import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from uuid import UUID

import structlog
from django.db import connection

from brokers.messages import OrderReport, ReportKind
from common.clocks import machine_time
from common.database_errors import is_database_trouble, is_too_much
from common.faults import point
from common.sql import columns, rows
from execution.audit.tallies import count, new_reference
from execution.calls import held
from execution.calls.call_results import log_blocked, not_written, reports_of
from execution.calls.errands import Done
from execution.calls.held import without_levels
from execution.calls.parts import RETRY_SECONDS, Writing, write_in_parts
from execution.drift.notes import set_aside
from execution.drift.wanted import ask_for
from execution.models import Tally
from execution.reports.apply import apply_reports
from execution.reports.beyond import apply_within_open, closes_too_much, may_be_early
from execution.reports.levels import words_of
from execution.reports.locked import split_locked

log = structlog.get_logger(__name__)
GATHER_SECONDS = 0.010
FLUSH_MAX = 500
LATE_SECONDS = 1.0  # a stream of the same broker may have reported more meanwhile
EARLY_SECONDS = 3.0  # by then the fill is written; one that is later has its account compared
EARLY = """
SELECT DISTINCT o.connection_id
FROM unnest(%s::text[], %s::boolean[], %s::boolean[]) AS d(cid, without_stop, without_target)
JOIN execution_order o ON o.client_order_id = d.cid
WHERE o.position_id IS NULL
  AND (d.without_stop AND o.stop_loss IS NOT NULL
    OR d.without_target AND o.take_profit IS NOT NULL)
  AND o.status IN ('SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED')
  AND NOT EXISTS (SELECT FROM positions_executionposition p
    WHERE p.connection_id = o.connection_id AND p.signal_id = o.signal_id)
"""
CAME_AT = "SELECT clock_timestamp() - make_interval(secs => %s) AS came_at"


@dataclass(frozen=True, slots=True)
class Reported:
    """What the answer to an order's call reports of it. ended_at: by `machine_time`."""

    reports: list[OrderReport]
    ended_at: float = field(default_factory=machine_time)


Told = Reported | Done | threading.Event


class Fate(Enum):
    """What becomes of a report that could not be written."""

    KEPT = auto()  # as far as it fits, or as a difference
    LATER = auto()  # what it waits for may still be told
    AGAIN = auto()  # the database is away


@dataclass(slots=True)
class Left:
    """Reports that were not applied and must be applied later. deferred: they wait for others.
    blocked: other sessions hold their rows."""

    deferred: list[OrderReport] = field(default_factory=list)
    blocked: list[OrderReport] = field(default_factory=list)

    @property
    def reports(self) -> list[OrderReport]:
        """All of them."""
        return self.deferred + self.blocked


def apply_or_halve(
    reports: Sequence[OrderReport], *, patient: bool = True, careful: bool = False
) -> Left:
    """Apply reports, whole or in parts (`write_in_parts`); return those to be applied later.

    A report whose rows another session holds delays no other, and all reports of its order wait
    with it. What cannot be written for its own sake (a constraint, our own arithmetic) becomes
    drift; of an exit beyond what is open, only what is beyond, and only where the caller is not
    `patient`, or no fill of its entry can come any more. careful: some may still be blocked.
    """
    left = Left()

    def write(batch: list[OrderReport]) -> list[OrderReport]:
        return apply_reports(batch, patient=patient).deferred

    def alone(report: OrderReport, fault: Exception) -> bool:
        fate = _keep(report, fault, patient)
        left.deferred += [report] if fate is Fate.LATER else []
        return fate is not Fate.AGAIN

    parts = write_in_parts(reports, Writing(write, alone, split_locked), careful=careful)
    left.deferred += [report for deferred in parts.results for report in deferred]
    left.blocked += parts.blocked
    if 0 < len(left.deferred) < len(reports):  # what they waited for may have been written just now
        careful = careful or bool(left.blocked)
        again = apply_or_halve(left.deferred, patient=patient, careful=careful)
        return Left(again.deferred, again.blocked + left.blocked)
    return left


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


def apply_or_hold(
    reports: Sequence[OrderReport], *, careful: bool = False, waited: float = 0.0
) -> bool:
    """Apply reports that no broker sends again; what must wait is held in this process. Returns
    whether some are blocked. waited: for how many seconds they may have waited already.

    What is late about levels may replace what the broker's stream reported meanwhile: the accounts
    are compared.
    """
    began = time.monotonic()
    left = apply_or_halve(reports, careful=careful)
    held.waiting.keep(left.deferred)
    if left.blocked:
        _hold_blocked(left.blocked, began)
    late = _late_about_levels(reports, waited + time.monotonic() - began)
    if late:
        _persist(lambda: _compare(late))
    return bool(left.blocked)


def _late_about_levels(reports: Sequence[OrderReport], seconds: float) -> list[OrderReport]:
    """Return those that say which levels a broker holds, if they are late. For a fill that opens a
    position more time may pass, since `compare_early_levels` has its account compared afterwards.
    """
    if seconds <= LATE_SECONDS:
        return []
    return [
        report
        for report in reports
        if report.kind is ReportKind.LEVELS
        or (seconds > EARLY_SECONDS and report.levels is not None)
    ]


def _hold_blocked(blocked: Sequence[OrderReport], began: float) -> None:
    held.waiting.keep([without_levels(r) for r in blocked if r.kind is not ReportKind.LEVELS])
    _persist(lambda: hold_levels(blocked, began))


def _persist(request: Callable[[], object]) -> None:
    """Request comparisons of accounts, again while the database is away."""
    while True:
        try:
            request()
            return
        except Exception as error:
            connection.close()
            if not is_database_trouble(error) or is_too_much(error):
                log.exception("accounts whose levels wait are not compared yet")
                return
            log.warning("comparisons are requested again", error=str(error).strip())
            time.sleep(RETRY_SECONDS)


def hold_levels(blocked: Sequence[OrderReport], began: float) -> list[OrderReport]:
    """Hold the LEVELS reports among those that are blocked; return the others.

    A later one may be applied first: they count only if nothing has happened to their position
    since they came. Their accounts are compared, too: this process may end before they are applied.
    began: time.monotonic() before they were first applied. Raises database errors.
    """
    levels = [report for report in blocked if report.kind is ReportKind.LEVELS]
    if levels:
        as_of = rows(CAME_AT, (time.monotonic() - began,))[0].came_at
        held.waiting.keep([replace(report, as_of=as_of) for report in levels])
        _compare(levels)
    return [report for report in blocked if report.kind is not ReportKind.LEVELS]


def _compare(reports: Sequence[OrderReport]) -> None:
    ask_for(sorted({UUID(report.connection_id) for report in reports}))


def compare_early_levels(events: Sequence[OrderReport]) -> None:
    """Have accounts compared whose broker said that it holds a level of an entry no more whose
    position is not written yet: the fill that brings it tells older ones. Raises database errors.
    """
    lacking = [
        (word.client_order_id, word.levels.stop_loss is None, word.levels.take_profit is None)
        for word in words_of(events)
        if word.levels.stop_loss is None or word.levels.take_profit is None
    ]
    if lacking and (early := rows(EARLY, columns(lacking, 3))):
        ask_for([row.connection_id for row in early], in_seconds=EARLY_SECONDS)


def try_held() -> None:
    """Apply what was held: all of it once more, and as far as it fits what has waited its time.
    None of it is waited for."""
    still, over = held.waiting.take()
    try:
        if still:
            left = apply_or_halve([one.report for one in still], careful=True)
            still = _put_back(still, left.reports)
        if over:
            left = apply_or_halve([one.report for one in over], patient=False, careful=True)
            over = _put_back(held.reported(over, left.blocked), left.blocked)
            for report in left.deferred:
                log.error("what waited was not applied", report=repr(report))
                count(Tally.Name.NOBODYS_REPORT, repr(report))
        if levels := [one.report for one in still + over if one.report.kind is ReportKind.LEVELS]:
            _compare(levels)  # they may not have counted
    except Exception:
        log.exception("what was held could not be tried")
        connection.close()


def _put_back(taken: Sequence[held.Held], left: Sequence[OrderReport]) -> list[held.Held]:
    """Have what is left wait on; return the others."""
    kept = {id(report) for report in left}
    held.waiting.put_back([one for one in taken if id(one.report) in kept])
    return [one for one in taken if id(one.report) not in kept]


def apply_answers(done: Sequence[Done], *, careful: bool = False) -> bool:
    """Apply what brokers' answers report of orders. Returns whether some of it is blocked."""
    reports = reports_of(done)
    if not reports:
        return False
    waited = machine_time() - min(one.ended_at for one in done)
    return apply_or_hold(reports, careful=careful, waited=waited)


def write_down(done: Sequence[Done], stop: threading.Event | None = None) -> None:
    """Hand what came of errands to its writers, all of one kind at once.

    What breaks a writer is halved until it stands alone, and logged: it stays requested on its row.
    """
    by_writer: dict[Callable[[Sequence[Done]], object], list[Done]] = {}
    for one in done:
        by_writer.setdefault(one.errand.write, []).append(one)
    if failed := [one for one in done if one.failed]:  # thousands of a host are one line
        log.warning("errands were not answered", errands=len(failed), first=repr(failed[0].answer))
    for write, those in by_writer.items():
        log_blocked(write_in_parts(those, Writing(write, not_written), stop=stop).blocked)


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
        self._oldest = math.inf  # when the first of what is gathered now was reported

    def run(self) -> None:
        while not self._stop_asked.is_set():
            batch = self._gather()
            if batch:
                point("flush.gathered")
                try:
                    apply_or_hold(batch, waited=machine_time() - self._oldest)
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
        self._outbox.put(Reported([]))

    def _gather(self) -> list[OrderReport]:
        batch: list[OrderReport] = []
        self._oldest = math.inf
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
            batch += told.reports
            self._oldest = min(self._oldest, told.ended_at)
