"""Reports that wait: an exit's executions, told before those of its entry, and what other sessions
hold the rows of.

They are in no row yet. Should this process die, their orders are looked up or compared again, and
the broker tells them once more. A later report of the same order may be applied before one that
waits. For facts about an order that changes no result; for levels it would, so those of an
execution are dropped (the position's levels are then not known until the broker states them), and
LEVELS count only if nothing has happened to the position since they came (`as_of`).
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from brokers.types import OrderReport, ReportKind

log = structlog.get_logger(__name__)

DEFER_SECONDS, RETRY_SECONDS = 60.0, 1.0  # how long they wait, and how often they are tried
MAX_REPORTS = (
    5000  # of them at once; what is more is left to be told again by look-ups and comparisons
)

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class DeferredReport:
    """A report that waits. until: time.monotonic(); then it is applied as far as it fits.
    is_reported: it is still blocked then, and that was logged."""

    report: OrderReport
    until: float
    is_reported: bool = False


def _key(report: OrderReport) -> Key:
    """The same thing told again, by a poll or a look-up, waits no second time. Of LEVELS of one
    order only the latest waits."""
    key = report.kind, report.connection_id, report.client_order_id
    if report.kind is ReportKind.LEVELS:
        return key
    fills = tuple((fill.broker_fill_id, fill.revision, fill.quantity) for fill in report.fills)
    return *key, report.broker_order_id, report.fence, report.levels, fills


def without_levels(report: OrderReport) -> OrderReport:
    """Return a report as it is applied after it has waited: its levels may be old by then."""
    return report if report.levels is None else replace(report, levels=None)


def log_overdue(
    waited: Sequence[DeferredReport], blocked: Sequence[OrderReport]
) -> list[DeferredReport]:
    """Log reports that are still blocked after their time, each once; return what waited."""
    still = {id(report) for report in blocked}
    newly_overdue = {id(one) for one in waited if id(one.report) in still and not one.is_reported}
    for one in waited:
        if id(one) in newly_overdue:
            log_blocked(one.report)
    return [replace(one, is_reported=True) if id(one) in newly_overdue else one for one in waited]


def log_blocked(report: OrderReport) -> None:
    """Log a report that could not be applied in `HOLD_SECONDS`, because of other sessions."""
    log.error(
        "a report is not applied: another session holds its order or position",
        order=report.client_order_id, connection=report.connection_id, kind=report.kind.value,
        longer_than_seconds=DEFER_SECONDS,
    )  # fmt: skip


class DeferredReportQueue:
    """What waits in this process. Any thread may keep reports here; the report writer tries
    them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reports: dict[Key, DeferredReport] = {}
        self._again_at = 0.0

    def add(self, reports: Sequence[OrderReport]) -> None:
        """Have these told again for a while."""
        until = time.monotonic() + DEFER_SECONDS
        with self._lock:
            for report in reports:
                if report.kind is ReportKind.LEVELS:
                    self._reports.pop(_key(report), None)
                if len(self._reports) < MAX_REPORTS:
                    self._reports.setdefault(_key(report), DeferredReport(report, until))
                else:
                    log.error("too much waits: a report is not held", report=repr(report))

    def put_back(self, deferred: Sequence[DeferredReport]) -> None:
        """What was taken and has to wait on, before what has come since; its time goes on as it
        began."""
        with self._lock:
            back, since = {_key(one.report): one for one in deferred}, self._reports
            newer = {
                key: one
                for key, one in since.items()
                if key not in back or one.report.kind is ReportKind.LEVELS
            }
            self._reports = back | newer

    def take(self) -> tuple[list[DeferredReport], list[DeferredReport]]:
        """Take all of it, at most once in `AGAIN_SECONDS`: what may wait on, and what may not."""
        now = time.monotonic()
        with self._lock:
            if not self._reports or now < self._again_at:
                return [], []
            deferred, self._reports, self._again_at = (
                [*self._reports.values()],
                {},
                now + RETRY_SECONDS,
            )
        return [one for one in deferred if one.until > now], [
            one for one in deferred if one.until <= now
        ]


deferred_queue = DeferredReportQueue()
