"""What the frame of every page shows: two counts of the navigation, and the alarms at the top."""

from datetime import datetime
from typing import NamedTuple

from django.http import HttpRequest

from common.db.sql import Query, rows
from execution.monitoring.scan_heartbeat import SCAN_STATUS_SQL, ScanStatus
from signals.joins import OPEN_REQUESTS_SQL
from users.trail_alarm import READ as TRAIL_STATUS_SQL
from users.trail_alarm import TrailStatus


class FrameRow(NamedTuple):
    """The two counts; then the fields of `ScanStatus` and of `TrailStatus`, NULL without a row."""

    open_drift: int
    open_requests: int
    scanned_at: datetime | None
    scheduled_at: datetime | None
    scan_age: float | None
    schedule_age: float | None
    set_back_seconds: float | None
    broken_at: datetime | None
    findings: str


FRAME = Query(
    FrameRow,
    f"""
SELECT (SELECT count(*) FROM execution_driftitem WHERE state = 'OPEN') AS open_drift,
  {OPEN_REQUESTS_SQL} AS open_requests,
  {", ".join(f"scan.{name}" for name in ScanStatus._fields)},
  trail.broken_at, coalesce(trail.findings, '') AS findings
FROM (SELECT 1) one
LEFT JOIN ({SCAN_STATUS_SQL}) scan ON true
LEFT JOIN ({TRAIL_STATUS_SQL}) trail ON true
""",
)


class Frame(NamedTuple):
    """open_drift: drift items that are open. open_requests: approvals that wait for a decision."""

    open_drift: int
    open_requests: int
    scan: ScanStatus
    trail: TrailStatus


def frame_of(request: HttpRequest) -> Frame:
    """Return the frame of the page that answers a request.

    It is read when the page is rendered, after what the request did, and once: a page has one
    frame, whose parts ask for it one by one.
    """
    known: Frame | None = getattr(request, "_frame", None)
    if known is None:
        known = _read()
        request._frame = known  # type: ignore[attr-defined]
    return known


def _read() -> Frame:
    (row,) = rows(FRAME)
    scan = ScanStatus(
        row.scanned_at, row.scheduled_at, row.scan_age, row.schedule_age, row.set_back_seconds
    )
    return Frame(row.open_drift, row.open_requests, scan, TrailStatus(row.broken_at, row.findings))
