"""What the shell of every page shows besides the kill switches, in one statement."""

from datetime import datetime
from typing import NamedTuple

from common.sql import Query, rows
from events.selectors import unread_count_sql
from execution.monitoring.scan_heartbeat import SCAN_STATUS_SQL, ScanStatus


class ShellRow(NamedTuple):
    """The unread notifications, and the fields of `ScanStatus`."""

    unread: int
    scanned_at: datetime | None
    scheduled_at: datetime | None
    scan_age: float | None
    schedule_age: float | None


class Shell(NamedTuple):
    """unread: how many notifications the user has not read."""

    unread: int
    scan: ScanStatus


SHELL = Query(
    ShellRow,
    f"""
SELECT mine.unread, scan.*
FROM (SELECT {unread_count_sql("%s::bigint")} AS unread) mine
LEFT JOIN ({SCAN_STATUS_SQL}) scan ON true
""",
)


def shell_of(user_id: int) -> Shell:
    """Return what a user's pages show in their shell."""
    [row] = rows(SHELL, (user_id,))
    return Shell(row.unread, ScanStatus(*row[1:]))
