"""The report writer: one thread that writes down what the dispatcher brings, gathered for some
milliseconds."""

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

from brokers.types import OrderReport, ReportKind
from common.clocks import machine_time
from common.database_errors import is_database_trouble, is_too_much
from common.failpoints import failpoint
from common.sql import columns, rows
from execution.base.drift_items import quarantine_report
from execution.base.dropped_messages import new_reference, record_dropped
from execution.base.reconciliation_requests import request_reconciliation
from execution.dispatch import deferred_reports
from execution.dispatch.background_calls import CallResult
from execution.dispatch.call_results import log_blocked, log_not_written, reports_in
from execution.dispatch.deferred_reports import without_levels
from execution.dispatch.partial_writes import RETRY_SECONDS, WritePlan, write_in_parts
from execution.models import DroppedMessageCount
from execution.reports.apply import apply_reports
from execution.reports.levels import level_statements
from execution.reports.overfills import apply_capped, is_overfill, may_precede_entry_fill
from execution.reports.row_locks import split_locked

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
RECEIVED_AT = "SELECT clock_timestamp() - make_interval(secs => %s) AS came_at"


@dataclass(frozen=True, slots=True)
class OrderCallReports:
    """What the answer to an order's call reports of it. ended_at: by `machine_time`."""

    reports: list[OrderReport]
    ended_at: float = field(default_factory=machine_time)


OutboxItem = OrderCallReports | CallResult | threading.Event


class Disposition(Enum):
    """What becomes of a report that could not be written."""

    KEPT = auto()  # as far as it fits, or as a difference
    LATER = auto()  # what it waits for may still be told
    AGAIN = auto()  # the database is away


@dataclass(slots=True)
class NotApplied:
    """Reports that were not applied and must be applied later. deferred: they wait for others.
    blocked: other sessions hold their rows."""

    deferred: list[OrderReport] = field(default_factory=list)
    blocked: list[OrderReport] = field(default_factory=list)

    @property
    def reports(self) -> list[OrderReport]:
        """All of them."""
        return self.deferred + self.blocked


def apply_with_bisection(
    reports: Sequence[OrderReport], *, patient: bool = True, careful: bool = False
) -> NotApplied:
    """Apply reports, whole or in parts (`write_in_parts`); return those to be applied later.

    A report whose rows another session holds delays no other, and all reports of its order wait
    with it. What cannot be written for its own sake (a constraint, our own arithmetic) becomes
    drift; of an exit beyond what is open, only what is beyond, and only where the caller is not
    `patient`, or no fill of its entry can come any more. careful: some may still be blocked.
    """
    not_applied = NotApplied()

    def write(batch: list[OrderReport]) -> list[OrderReport]:
        return apply_reports(batch, patient=patient).deferred

    def on_bad_item(report: OrderReport, fault: Exception) -> bool:
        disposition = _write_what_fits(report, fault, patient)
        not_applied.deferred += [report] if disposition is Disposition.LATER else []
        return disposition is not Disposition.AGAIN

    parts = write_in_parts(reports, WritePlan(write, on_bad_item, split_locked), careful=careful)
    not_applied.deferred += [report for deferred in parts.results for report in deferred]
    not_applied.blocked += parts.blocked
    if (
        0 < len(not_applied.deferred) < len(reports)
    ):  # what they waited for may have been written just now
        careful = careful or bool(not_applied.blocked)
        again = apply_with_bisection(not_applied.deferred, patient=patient, careful=careful)
        return NotApplied(again.deferred, again.blocked + not_applied.blocked)
    return not_applied


def _write_what_fits(report: OrderReport, fault: Exception, patient: bool) -> Disposition:
    """Apply what can be applied of a report, else set it aside."""
    try:
        if is_overfill(fault):
            if patient and may_precede_entry_fill(report):
                return Disposition.LATER
            if apply_capped(report):
                log.error("an exit executed more than is open", order=report.client_order_id)
                return Disposition.KEPT
    except Exception as another:
        if is_database_trouble(another):
            connection.close()
            return Disposition.AGAIN
        fault = another
    reference = new_reference()
    log.error(
        "a report cannot be applied", order=report.client_order_id, reference=reference,
        exc_info=fault,
    )  # fmt: skip
    try:
        if not quarantine_report(report, fault, reference):
            log.error("a report about nobody's connection was dropped", report=repr(report))
            record_dropped(DroppedMessageCount.Name.UNKNOWN_CONNECTION, repr(report))
    except Exception as another:
        if is_database_trouble(another):
            connection.close()
            return Disposition.AGAIN
        log.exception("a report was dropped", report=repr(report))
    return Disposition.KEPT


def apply_or_defer(
    reports: Sequence[OrderReport], *, careful: bool = False, waited: float = 0.0
) -> bool:
    """Apply reports that no broker sends again; what must wait is held in this process. Returns
    whether some are blocked. waited: for how many seconds they may have waited already.

    What is late about levels may replace what the broker's stream reported meanwhile: the accounts
    are compared.
    """
    began = time.monotonic()
    not_applied = apply_with_bisection(reports, careful=careful)
    deferred_reports.deferred_queue.add(not_applied.deferred)
    if not_applied.blocked:
        _defer_blocked(not_applied.blocked, began)
    late = _late_about_levels(reports, waited + time.monotonic() - began)
    if late:
        _persist(lambda: _compare(late))
    return bool(not_applied.blocked)


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


def _defer_blocked(blocked: Sequence[OrderReport], began: float) -> None:
    deferred_reports.deferred_queue.add(
        [without_levels(r) for r in blocked if r.kind is not ReportKind.LEVELS]
    )
    _persist(lambda: defer_levels(blocked, began))


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


def defer_levels(blocked: Sequence[OrderReport], began: float) -> list[OrderReport]:
    """Hold the LEVELS reports among those that are blocked; return the others.

    A later one may be applied first: they count only if nothing has happened to their position
    since they came. Their accounts are compared, too: this process may end before they are applied.
    began: time.monotonic() before they were first applied. Raises database errors.
    """
    levels = [report for report in blocked if report.kind is ReportKind.LEVELS]
    if levels:
        as_of = rows(RECEIVED_AT, (time.monotonic() - began,))[0].came_at
        deferred_reports.deferred_queue.add([replace(report, as_of=as_of) for report in levels])
        _compare(levels)
    return [report for report in blocked if report.kind is not ReportKind.LEVELS]


def _compare(reports: Sequence[OrderReport]) -> None:
    request_reconciliation(sorted({UUID(report.connection_id) for report in reports}))


def compare_early_levels(events: Sequence[OrderReport]) -> None:
    """Have accounts compared whose broker said that it holds a level of an entry no more whose
    position is not written yet: the fill that brings it tells older ones. Raises database errors.
    """
    lacking = [
        (
            statement.client_order_id,
            statement.levels.stop_loss is None,
            statement.levels.take_profit is None,
        )
        for statement in level_statements(events)
        if statement.levels.stop_loss is None or statement.levels.take_profit is None
    ]
    if lacking and (early := rows(EARLY, columns(lacking, 3))):
        request_reconciliation([row.connection_id for row in early], in_seconds=EARLY_SECONDS)


def retry_deferred() -> None:
    """Apply what was held: all of it once more, and as far as it fits what has waited its time.
    None of it is waited for."""
    still, over = deferred_reports.deferred_queue.take()
    try:
        if still:
            not_applied = apply_with_bisection([one.report for one in still], careful=True)
            still = _put_back(still, not_applied.reports)
        if over:
            not_applied = apply_with_bisection(
                [one.report for one in over], patient=False, careful=True
            )
            over = _put_back(
                deferred_reports.log_overdue(over, not_applied.blocked), not_applied.blocked
            )
            for report in not_applied.deferred:
                log.error("what waited was not applied", report=repr(report))
                record_dropped(DroppedMessageCount.Name.UNKNOWN_CONNECTION, repr(report))
        if levels := [one.report for one in still + over if one.report.kind is ReportKind.LEVELS]:
            _compare(levels)  # they may not have counted
    except Exception:
        log.exception("what was held could not be tried")
        connection.close()


def _put_back(
    waited: Sequence[deferred_reports.DeferredReport], not_applied: Sequence[OrderReport]
) -> list[deferred_reports.DeferredReport]:
    """Have what is left wait on; return the others."""
    kept = {id(report) for report in not_applied}
    deferred_reports.deferred_queue.put_back([one for one in waited if id(one.report) in kept])
    return [one for one in waited if id(one.report) not in kept]


def apply_answers(done: Sequence[CallResult], *, careful: bool = False) -> bool:
    """Apply what brokers' answers report of orders. Returns whether some of it is blocked."""
    reports = reports_in(done)
    if not reports:
        return False
    waited = machine_time() - min(one.ended_at for one in done)
    return apply_or_defer(reports, careful=careful, waited=waited)


def record_call_results(done: Sequence[CallResult], stop: threading.Event | None = None) -> None:
    """Hand what came of background calls to its writers, all of one kind at once.

    What breaks a writer is halved until it stands alone, and logged: it stays requested on its row.
    """
    by_writer: dict[Callable[[Sequence[CallResult]], object], list[CallResult]] = {}
    for one in done:
        by_writer.setdefault(one.background_call.write, []).append(one)
    if failed := [one for one in done if one.failed]:  # thousands of a host are one line
        log.warning(
            "background calls were not answered",
            background_calls=len(failed),
            first=repr(failed[0].answer),
        )
    for write, those in by_writer.items():
        log_blocked(write_in_parts(those, WritePlan(write, log_not_written), stop=stop).blocked)


class ReportWriter(threading.Thread):
    """Empties the dispatcher's outbox into apply_reports until told to stop."""

    def __init__(
        self,
        outbox: "queue.SimpleQueue[OutboxItem]",
        on_reports: Callable[[Sequence[OrderReport]], None] = lambda _: None,
    ) -> None:
        super().__init__(daemon=True, name="flusher")
        self._on_reports = on_reports
        self._outbox, self._stop_asked = outbox, threading.Event()
        self._waiting: list[threading.Event] = []
        self._done: list[CallResult] = []
        self._oldest = math.inf  # when the first of what is gathered now was reported

    def run(self) -> None:
        while not self._stop_asked.is_set():
            batch = self._gather()
            if batch:
                failpoint("flush.gathered")
                try:
                    apply_or_defer(batch, waited=machine_time() - self._oldest)
                    self._on_reports(batch)
                except Exception:  # without this thread nothing would be written any more
                    log.exception("a flush failed", reports=len(batch))
            done, self._done = self._done, []
            record_call_results(done, self._stop_asked)
            retry_deferred()
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
        self._outbox.put(OrderCallReports([]))

    def _gather(self) -> list[OrderReport]:
        batch: list[OrderReport] = []
        self._oldest = math.inf
        try:
            self._sort(self._outbox.get(timeout=deferred_reports.RETRY_SECONDS), batch)
        except queue.Empty:
            return batch
        until = time.monotonic() + GATHER_SECONDS
        while len(batch) + len(self._done) < FLUSH_MAX:
            try:
                self._sort(self._outbox.get(timeout=max(0.0, until - time.monotonic())), batch)
            except queue.Empty:
                break
        return batch

    def _sort(self, item: OutboxItem, batch: list[OrderReport]) -> None:
        if isinstance(item, threading.Event):
            self._waiting.append(item)  # somebody who waits for all that came before
        elif isinstance(item, CallResult):
            self._done.append(item)
        else:
            batch += item.reports
            self._oldest = min(self._oldest, item.ended_at)
