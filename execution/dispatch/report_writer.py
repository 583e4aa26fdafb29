"""The report writer: one thread that stores the results of the dispatcher's calls, in batches."""

import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import partial
from uuid import UUID

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from brokers.types import OrderReport, ReportKind
from common.clocks import machine_time
from common.db.errors import is_database_trouble, is_too_much
from common.db.sql import columns, rows
from common.errors import CONTENT_ERRORS
from common.failpoints import failpoint
from common.process import tracing
from execution.base.drift_items import quarantine_report
from execution.base.dropped_messages import new_reference, record_dropped
from execution.base.reconciliation_requests import request_reconciliation
from execution.base.statements import LIVE_SQL
from execution.dispatch import deferred_reports
from execution.dispatch.background_calls import CallResult
from execution.dispatch.call_results import log_blocked, log_not_written, reports_in
from execution.dispatch.deferred_reports import without_levels
from execution.dispatch.partial_writes import RETRY_SECONDS, WritePlan, write_in_parts
from execution.models import DroppedMessageCount
from execution.reports.apply import apply_reports
from execution.reports.explained_overfills import apply_cut_exits
from execution.reports.levels import level_statements
from execution.reports.overfills import apply_capped, is_overfill, may_precede_entry_fill
from execution.reports.row_locks import split_locked

log = structlog.get_logger(__name__)
GATHER_SECONDS = 0.010  # a batch is what comes within this time of its first report, at most
MAX_BATCH = 500
# A LEVELS report that is applied later than this may overwrite newer ones of the broker's stream.
LATE_LEVELS_SECONDS = 1.0
# A fill, and so its position, is usually stored within this time.
LATE_FILL_SECONDS = 3.0
# Accounts with an entry that has no position yet, and that was sent with a level now reported gone.
VANISHED_LEVELS = f"""
SELECT DISTINCT o.connection_id
FROM unnest(%s::text[], %s::boolean[], %s::boolean[])
  AS d(client_order_id, without_stop, without_target)
JOIN execution_order o ON o.client_order_id = d.client_order_id
WHERE o.position_id IS NULL
  AND (d.without_stop AND o.stop_loss IS NOT NULL
    OR d.without_target AND o.take_profit IS NOT NULL)
  AND o.status IN {LIVE_SQL}
  AND NOT EXISTS (SELECT FROM positions_executionposition p
    WHERE p.connection_id = o.connection_id AND p.signal_id = o.signal_id
      AND p.entry_leg = o.position_leg)
"""
RECEIVED_AT = "SELECT clock_timestamp() - make_interval(secs => %s) AS received_at"


@dataclass(frozen=True, slots=True)
class OrderCallReports:
    """The reports of an order's call. ended_at: machine_time()."""

    reports: list[OrderReport]
    ended_at: float = field(default_factory=machine_time)


ResultItem = OrderCallReports | CallResult | threading.Event


class Disposition(Enum):
    """What became of a report that could not be applied as it is."""

    WRITTEN = auto()  # as far as possible, or as a drift item
    DEFERRED = auto()  # the report that it waits for may still come
    RETRY = auto()  # the database is unavailable


@dataclass(slots=True)
class NotApplied:
    """Reports that must be applied later. deferred: they wait for another report. blocked: other
    sessions have locked their rows."""

    deferred: list[OrderReport] = field(default_factory=list)
    blocked: list[OrderReport] = field(default_factory=list)

    @property
    def reports(self) -> list[OrderReport]:
        """Both deferred and blocked reports."""
        return self.deferred + self.blocked


def apply_with_bisection(
    reports: Sequence[OrderReport], *, defer_overfills: bool = True, expect_locks: bool = False
) -> NotApplied:
    """Apply reports, all at once or in parts (`write_in_parts`); return those to be applied later.

    A report whose rows another session has locked delays only the other reports of its order. A
    report that cannot be applied (a constraint, a bug of ours) becomes a drift item.

    defer_overfills: an exit that closes more than is open waits as long as a fill of its entry may
    still come. Otherwise what is open is closed, and the excess becomes a drift item. expect_locks:
    other sessions probably still hold locks.
    """
    not_applied = NotApplied()

    def write(batch: list[OrderReport]) -> list[OrderReport]:
        applied = apply_reports(batch, defer_overfills=defer_overfills)
        apply_cut_exits(applied.grown)
        return applied.deferred

    def on_bad_item(report: OrderReport, error: Exception) -> bool:
        disposition = _write_what_fits(report, error, defer_overfills)
        not_applied.deferred += [report] if disposition is Disposition.DEFERRED else []
        return disposition is not Disposition.RETRY

    parts = write_in_parts(
        reports, WritePlan(write, on_bad_item, split_locked), expect_locks=expect_locks
    )
    not_applied.deferred += [report for deferred in parts.results for report in deferred]
    not_applied.blocked += parts.blocked
    # What the deferred reports wait for may be among those that were just applied.
    if 0 < len(not_applied.deferred) < len(reports):
        expect_locks = expect_locks or bool(not_applied.blocked)
        rest = apply_with_bisection(
            not_applied.deferred, defer_overfills=defer_overfills, expect_locks=expect_locks
        )
        return NotApplied(rest.deferred, rest.blocked + not_applied.blocked)
    return not_applied


def _write_what_fits(report: OrderReport, error: Exception, defer_overfills: bool) -> Disposition:
    """Apply as much as possible of a report, else quarantine it as a drift item."""
    for attempt in (partial(_apply_overfill, defer_overfills=defer_overfills), _quarantine):
        try:
            if (disposition := attempt(report, error)) is not None:
                return disposition
        except Exception as new_error:  # any: the report's content may break any line
            if is_database_trouble(new_error):
                connection.close()
                return Disposition.RETRY
            error = new_error
    log.error("report dropped", report=repr(report), exc_info=error)
    return Disposition.WRITTEN


def _apply_overfill(
    report: OrderReport, error: Exception, *, defer_overfills: bool
) -> Disposition | None:
    """Apply what is open of an exit that closes more; None if that is not the error."""
    if not is_overfill(error):
        return None
    if defer_overfills and may_precede_entry_fill(report):
        return Disposition.DEFERRED
    return Disposition.WRITTEN if apply_capped(report) else None


def _quarantine(report: OrderReport, error: Exception) -> Disposition:
    reference = new_reference()
    log.error(
        "report cannot be applied", order=report.client_order_id, reference=reference,
        exc_info=error,
    )  # fmt: skip
    if not quarantine_report(report, error, reference):
        log.error("report of an unknown connection dropped", report=repr(report))
        record_dropped(DroppedMessageCount.Name.UNKNOWN_CONNECTION, repr(report))
    return Disposition.WRITTEN


def apply_or_defer(
    reports: Sequence[OrderReport], *, expect_locks: bool = False, waited: float = 0.0
) -> NotApplied:
    """Apply reports that no broker sends again; defer in memory those that must wait.

    Returns those that wait. waited: the seconds since they were received. Late reports
    about levels may overwrite newer ones from the broker's stream, so their accounts are compared.
    """
    began = time.monotonic()
    not_applied = apply_with_bisection(reports, expect_locks=expect_locks)
    deferred_reports.deferred_queue.add(not_applied.deferred)
    if not_applied.blocked:
        _defer_blocked(not_applied.blocked, began)
    late = _late_about_levels(reports, waited + time.monotonic() - began)
    if late:
        _request_until_stored(lambda: _request_comparisons(late))
    return not_applied


def _late_about_levels(reports: Sequence[OrderReport], seconds: float) -> list[OrderReport]:
    """Return the reports that state which levels a broker holds, if they are late.

    A fill that also states levels has more time: what the broker reports meanwhile is compared by
    `compare_vanished_levels`.
    """
    if seconds <= LATE_LEVELS_SECONDS:
        return []
    return [
        report
        for report in reports
        if report.kind is ReportKind.LEVELS
        or (seconds > LATE_FILL_SECONDS and report.levels is not None)
    ]


def _defer_blocked(blocked: Sequence[OrderReport], began: float) -> None:
    deferred_reports.deferred_queue.add(
        [without_levels(r) for r in blocked if r.kind is not ReportKind.LEVELS]
    )
    _request_until_stored(lambda: defer_levels(blocked, began))


def _request_until_stored(request: Callable[[], object]) -> None:
    """Call a function that requests comparisons; repeat it while the database is unavailable."""
    while True:
        try:
            request()
            return
        except (DatabaseError, InterfaceError, *CONTENT_ERRORS) as error:
            connection.close()
            if not is_database_trouble(error) or is_too_much(error):
                log.exception("comparison of accounts with deferred levels not requested")
                return
            log.warning("request of comparisons will be retried", error=str(error).strip())
            time.sleep(RETRY_SECONDS)


def defer_levels(blocked: Sequence[OrderReport], began: float) -> list[OrderReport]:
    """Defer the LEVELS reports among blocked ones; return the other reports.

    Later reports may be applied first, so they count only if nothing has happened to their position
    since they were received. Their accounts are compared, too, since this process may end before it
    applies them. began: time.monotonic() before the first attempt. Raises database errors.
    """
    levels = [report for report in blocked if report.kind is ReportKind.LEVELS]
    if levels:
        as_of = rows(RECEIVED_AT, (time.monotonic() - began,))[0].received_at
        deferred_reports.deferred_queue.add([replace(report, as_of=as_of) for report in levels])
        _request_comparisons(levels)
    return [report for report in blocked if report.kind is not ReportKind.LEVELS]


def _request_comparisons(reports: Sequence[OrderReport]) -> None:
    request_reconciliation(sorted({UUID(report.connection_id) for report in reports}))


def compare_vanished_levels(events: Sequence[OrderReport]) -> None:
    """Request comparisons for accounts whose levels vanished before their position was stored.

    The broker reported that it no longer holds a level of an entry; the fill that opens the
    position will report older levels. Raises database errors.
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
    if lacking and (accounts := rows(VANISHED_LEVELS, columns(lacking, 3))):
        request_reconciliation(
            [row.connection_id for row in accounts], in_seconds=LATE_FILL_SECONDS
        )


def retry_deferred() -> None:
    """Apply the deferred reports once more; those whose time is over, as far as possible."""
    waiting, overdue = deferred_reports.deferred_queue.take()
    if waiting:
        not_applied = apply_with_bisection([item.report for item in waiting], expect_locks=True)
        waiting = _put_back(waiting, not_applied.reports)
    if overdue:
        not_applied = apply_with_bisection(
            [item.report for item in overdue], defer_overfills=False, expect_locks=True
        )
        overdue = _put_back(
            deferred_reports.log_overdue(overdue, not_applied.blocked), not_applied.blocked
        )
        for report in not_applied.deferred:
            log.error("deferred report not applied", report=repr(report))
            record_dropped(DroppedMessageCount.Name.UNKNOWN_CONNECTION, repr(report))
    applied = [item.report for item in waiting + overdue]
    if levels := [report for report in applied if report.kind is ReportKind.LEVELS]:
        _request_comparisons(levels)  # they may not have counted


def _put_back(
    waited: Sequence[deferred_reports.DeferredReport], not_applied: Sequence[OrderReport]
) -> list[deferred_reports.DeferredReport]:
    """Defer again what was not applied; return the others."""
    kept = {id(report) for report in not_applied}
    deferred_reports.deferred_queue.put_back([item for item in waited if id(item.report) in kept])
    return [item for item in waited if id(item.report) not in kept]


def apply_call_reports(done: Sequence[CallResult], *, expect_locks: bool = False) -> NotApplied:
    """Apply the reports in results of background calls; return those that wait in memory."""
    reports = reports_in(done)
    if not reports:
        return NotApplied()
    waited = machine_time() - min(result.ended_at for result in done)
    return apply_or_defer(reports, expect_locks=expect_locks, waited=waited)


def record_call_results(done: Sequence[CallResult], stop: threading.Event | None = None) -> None:
    """Pass results of background calls to their writers, all of one writer at once.

    A result that breaks its writer is found by halving and logged; its row stays due.
    """
    by_writer: dict[Callable[[Sequence[CallResult]], object], list[CallResult]] = {}
    for result in done:
        by_writer.setdefault(result.background_call.write, []).append(result)
    if failed := [result for result in done if result.failed]:  # one line for all of a host
        first = repr(failed[0].answer)
        log.warning("background calls without answer", calls=len(failed), first=first)
    for write, results in by_writer.items():
        log_blocked(write_in_parts(results, WritePlan(write, log_not_written), stop=stop).blocked)


class ReportWriter(threading.Thread):
    """The thread that applies the dispatcher's results until `stop`."""

    def __init__(
        self,
        results: "queue.SimpleQueue[ResultItem]",
        on_reports: Callable[[Sequence[OrderReport]], None] = lambda _: None,
        *,
        awaits_reports: Callable[[], bool] = lambda: True,
        awaits_results: Callable[[], bool] = lambda: True,
    ) -> None:
        """awaits_reports: whether orders' calls are in flight; awaits_results: background calls."""
        super().__init__(daemon=True, name="report-writer")
        self._on_reports = on_reports
        self._awaits_reports, self._awaits_results = awaits_reports, awaits_results
        self._results, self._stop_requested = results, threading.Event()
        self._drain_events: list[threading.Event] = []
        self._done: list[CallResult] = []
        self._oldest = math.inf  # machine_time() of the first report of this batch

    def run(self) -> None:
        """Write batch after batch until `stop`."""
        while not self._stop_requested.is_set():
            batch = self._gather()
            done, self._done = self._done, []
            for step in (
                partial(self._apply, batch),
                partial(record_call_results, done, self._stop_requested),
                retry_deferred,
            ):
                try:
                    step()
                except Exception:  # any: without this thread nothing would be written any more
                    log.exception("reports not written", reports=len(batch), results=len(done))
                    connection.close()
            while self._drain_events:
                self._drain_events.pop().set()
            if not batch and not done:
                close_old_connections()
        connection.close()

    def _apply(self, batch: Sequence[OrderReport]) -> None:
        if batch:
            failpoint("reports.gathered")
            apply_or_defer(batch, waited=machine_time() - self._oldest)
            self._on_reports(batch)
            if tracing.is_on():
                seconds = machine_time() - self._oldest
                tracing.add_reports((report.client_order_id for report in batch), seconds)

    def drain(self, timeout: float) -> bool:
        """Wait until all results queued now are written; return False after `timeout` seconds."""
        written = threading.Event()
        self._results.put(written)
        return written.wait(timeout)

    def stop(self) -> None:
        """End the thread after the present batch."""
        self._stop_requested.set()
        self._results.put(OrderCallReports([]))

    def _gather(self) -> list[OrderReport]:
        batch: list[OrderReport] = []
        self._oldest = math.inf
        seconds = deferred_reports.RETRY_SECONDS
        until = math.inf
        while len(batch) + len(self._done) < MAX_BATCH:
            try:
                self._sort(self._results.get(timeout=seconds), batch)
            except queue.Empty:
                break
            until = min(until, time.monotonic() + GATHER_SECONDS)
            # Without a call in flight, only what is queued already is taken.
            awaits_more = self._awaits_reports if batch else self._awaits_results
            seconds = max(0.0, until - time.monotonic()) if awaits_more() else 0.0
        return batch

    def _sort(self, item: ResultItem, batch: list[OrderReport]) -> None:
        if isinstance(item, threading.Event):
            self._drain_events.append(item)  # set once everything before it is written
        elif isinstance(item, CallResult):
            self._done.append(item)
        else:
            batch += item.reports
            self._oldest = min(self._oldest, item.ended_at)
