"""Deferred reports: fills of an exit that came before those of its entry, and blocked reports.

A report is blocked if another session has locked its rows. Deferred reports are only in memory: if
this process dies, a look-up or a comparison makes the broker report them again. A later report of
the same order may be applied before a deferred one. For facts about an order the result is the
same. For levels it is not: those of a fill are dropped (the position's levels are unknown until the
broker states them again), and LEVELS count only if nothing has happened to the position since they
were received (`as_of`).
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from brokers.types import OrderReport, ReportKind

log = structlog.get_logger(__name__)

DEFER_SECONDS, RETRY_SECONDS = 60.0, 1.0  # how long they wait, and how often they are retried
MAX_REPORTS = 5000  # more are dropped: look-ups and comparisons make brokers report them again

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class DeferredReport:
    """A report that waits. until: time.monotonic(), when it is applied as far as possible.
    is_logged: it was still blocked then, and that was logged."""

    report: OrderReport
    until: float
    is_logged: bool = False


def _key(report: OrderReport) -> Key:
    """Return what identifies a report: a repetition, by a poll or a look-up, is not added again.

    Of the LEVELS of one order only the latest is kept.
    """
    key = report.kind, report.connection_id, report.client_order_id
    if report.kind is ReportKind.LEVELS:
        return key
    fills = tuple(
        (fill.broker_fill_id, fill.revision, fill.quantity)
        + ((fill.commission,) if fill.is_commission_only else ())
        for fill in report.fills
    )
    return *key, report.broker_order_id, report.fence, report.levels, fills


def without_levels(report: OrderReport) -> OrderReport:
    """Return a report without its levels, which may be outdated after a wait."""
    return report if report.levels is None else replace(report, levels=None)


def log_overdue(
    waited: Sequence[DeferredReport], blocked: Sequence[OrderReport]
) -> list[DeferredReport]:
    """Log deferred reports that are still blocked after their time, each once; return all."""
    still = {id(report) for report in blocked}
    newly_overdue = {
        id(deferred)
        for deferred in waited
        if id(deferred.report) in still and not deferred.is_logged
    }
    for deferred in waited:
        if id(deferred) in newly_overdue:
            log_blocked(deferred.report)
    return [
        replace(deferred, is_logged=True) if id(deferred) in newly_overdue else deferred
        for deferred in waited
    ]


def log_blocked(report: OrderReport) -> None:
    """Log a report that other sessions have blocked for more than `DEFER_SECONDS`."""
    log.error(
        "report not applied: another session has locked its order or position",
        order=report.client_order_id, connection=report.connection_id, kind=report.kind.value,
        longer_than_seconds=DEFER_SECONDS,
    )  # fmt: skip


class DeferredReportQueue:
    """The deferred reports of this process: any thread adds them, the report writer retries."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reports: dict[Key, DeferredReport] = {}
        self._retry_at = 0.0

    def add(self, reports: Sequence[OrderReport]) -> None:
        """Defer reports: they are retried for `DEFER_SECONDS`."""
        until = time.monotonic() + DEFER_SECONDS
        with self._lock:
            for report in reports:
                if report.kind is ReportKind.LEVELS:
                    self._reports.pop(_key(report), None)
                if len(self._reports) < MAX_REPORTS:
                    self._reports.setdefault(_key(report), DeferredReport(report, until))
                else:
                    log.error("too many deferred reports: one was dropped", report=repr(report))

    def put_back(self, deferred: Sequence[DeferredReport]) -> None:
        """Defer reports that were taken again, ahead of those added since, until the same time."""
        with self._lock:
            back = {_key(item.report): item for item in deferred}
            newer = {
                key: item
                for key, item in self._reports.items()
                if key not in back or item.report.kind is ReportKind.LEVELS
            }
            self._reports = back | newer

    def take(self) -> tuple[list[DeferredReport], list[DeferredReport]]:
        """Take all reports, at most once in `RETRY_SECONDS`: those that may wait longer, and those
        whose time is over."""
        now = time.monotonic()
        with self._lock:
            if not self._reports or now < self._retry_at:
                return [], []
            deferred, self._reports = [*self._reports.values()], {}
            self._retry_at = now + RETRY_SECONDS
        return (
            [item for item in deferred if item.until > now],
            [item for item in deferred if item.until <= now],
        )


deferred_queue = DeferredReportQueue()
