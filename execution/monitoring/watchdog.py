"""The ping of an outside watchdog: each minute, but only if what trading depends on works.

Silence is the alarm: it also comes if this machine, its network or this very job is gone. The
address is the operational setting `watchdog.ping_url`. The ping is a job of its own, so that an
address that does not answer delays nothing; the doctor and `/metrics` state it.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import structlog
from django.db import DatabaseError, InterfaceError, connection

from common.db.sql import Query, periodic_rows, run
from common.operational.current import settings_now
from events.http_post import Try, request
from execution.base.statements import ALL_PENDING_SQL
from execution.dispatch.order_dispatcher import CALL_NOT_ENDED
from execution.monitoring.scan_heartbeat import SCAN_STATUS_SQL, ScanStatus
from execution.runtime import trading_runtime

log = structlog.get_logger(__name__)
PING_SECONDS = 60.0
LOOP_SECONDS = 5.0
OVERDUE_SECONDS = 120


class Vitals(NamedTuple):
    """What is read of trading. due_seconds: how long the oldest due order has been due."""

    roles: list[str]
    due_seconds: float
    scanned_at: datetime | None
    scheduled_at: datetime | None
    scan_age: float | None
    schedule_age: float | None
    set_back_seconds: float | None


class Claimed(NamedTuple):
    """The row of this minute's ping."""

    id: int


# Its write shows that the database takes writes; of several processes one pings in a minute. A time
# in the future was written before the clock was set back.
CLAIM = Query(
    Claimed,
    """
INSERT INTO execution_watchdogping AS ping (id, checked_at) VALUES (1, clock_timestamp())
ON CONFLICT (id) DO UPDATE SET checked_at = EXCLUDED.checked_at
WHERE ping.checked_at NOT BETWEEN clock_timestamp() - interval '45 s' AND clock_timestamp()
RETURNING ping.id::int AS id
""",
)
READ = Query(
    Vitals,
    f"""
SELECT to_jsonb(ARRAY(SELECT DISTINCT role FROM execution_workerlease
    WHERE lease_until > clock_timestamp())) AS roles,
  (SELECT greatest(coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0), 0)::float8
    FROM execution_order WHERE {ALL_PENDING_SQL}) AS due_seconds, status.*
FROM (SELECT 1) one LEFT JOIN ({SCAN_STATUS_SQL}) status ON true
""",
)
STORE = """
UPDATE execution_watchdogping SET fault = %(fault)s::text, error = %(error)s::text,
  pinged_at = CASE WHEN %(is_pinged)s THEN clock_timestamp() ELSE pinged_at END,
  error_since = CASE WHEN %(error)s::text <> '' THEN coalesce(error_since, clock_timestamp()) END
WHERE id = 1
"""


def faults_of(vitals: Vitals) -> list[str]:
    """Return what does not work, as sentences. Pure."""
    status = ScanStatus(*vitals[2:])
    queues = {queue for role in vitals.roles for queue in role.split("+")}
    found = [
        f"No process serves {queue}." for queue in ("exits", "execution") if queue not in queues
    ]
    if vitals.due_seconds > OVERDUE_SECONDS:
        found.append(f"The oldest due order has been due for {vitals.due_seconds:.0f} s.")
    if status.scheduler_is_late:
        found.append("Beat has requested no scan of levels.")
    if status.scan_is_late:
        found.append("Stops and targets were not scanned.")
    return found


def _loop_answers() -> bool:
    """Whether this process's dispatcher takes calls."""
    try:
        trading_runtime.get_runtime().dispatcher.run_call(asyncio.sleep(0), LOOP_SECONDS)
    except (*CALL_NOT_ENDED, RuntimeError):  # RuntimeError: this process does not trade
        return False
    return True


def ping(loop_answers: Callable[[], bool] = _loop_answers) -> None:
    """Check what is vital, and ping the outside watchdog if it works. Not in a transaction."""
    setting = settings_now().watchdog
    if setting.ping_url is None:
        return
    try:
        if not periodic_rows(CLAIM):
            return  # another process has this minute
        [vitals] = periodic_rows(READ)
        faults = faults_of(vitals)
    except (DatabaseError, InterfaceError) as error:
        connection.close()
        faults = [f"The database takes no writes: {type(error).__name__}."]
    if not loop_answers():
        faults.append("The dispatcher does not answer.")
    suffix = setting.fail_suffix if faults else setting.success_suffix
    tried = None if suffix is None else _sent(setting.ping_url + suffix)
    if faults:
        log.warning("outside watchdog is not pinged", faults=faults)
    run(
        STORE,
        {
            "fault": " ".join(faults)[:500],
            "error": tried.error[:200] if tried else "",
            "is_pinged": bool(tried and not tried.error and not faults),
        },
    )


def _sent(url: str) -> Try:
    return request("GET", url, body=None, headers={}, server="The watchdog")
