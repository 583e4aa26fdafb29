"""Heavy reads of results from a streaming replica, if it has all that the primary has.

A read is answered by the replica only if that has replayed what the primary had written when the
read began, so results are the same as the primary's: a trade counts from the moment it is closed.
That is compared by places in the log, which mean the same on the same timeline of the same server
only. Otherwise, and whenever the replica does not answer, the primary answers. docs/adr/0060.
"""

import time
from typing import Any, NamedTuple

import structlog
from django.db import InterfaceError, InternalError, OperationalError, connections, transaction

from common.db.direct_sessions import REPLICA
from common.db.replica_sessions import ANSWER, READY, ReplicaSession, answers_within, lease_part
from common.db.sql import Params, Query, Row, rows
from users.tenancy import OPERATOR, TENANT

log = structlog.get_logger(__name__)
PAGE_SECONDS = 0.25  # a page waits that long for what was just written to be replayed
JOB_SECONDS = 30.0
# So that not every page waits for it in vain.
PAUSE_SECONDS = {"lags": 5.0, "fails": 30.0, "differs": 30.0}
POLL_SECONDS = 0.01


class PrimaryRow(NamedTuple):
    """The user of the present transaction, and what the replica must have to answer for it.

    written, timeline: None on a server that is no primary. system: its identifier.
    """

    tenant: str
    operator: str
    written: str | None
    has_changes: bool
    system: str
    timeline: str | None


class ReplicaRow(NamedTuple):
    is_current: bool


class ServerRow(NamedTuple):
    """A server in recovery: its identifier, and the timeline up to which it has replayed."""

    system: str
    timeline: int


# Not the end of what is in memory: it could be a place that no record ends at. What is committed
# is flushed. A server in recovery is no primary and has no such place.
PRIMARY = Query(
    PrimaryRow,
    f"""
SELECT coalesce(current_setting('{TENANT}', true), '') AS tenant,
  coalesce(current_setting('{OPERATOR}', true), '') AS operator,
  CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn()::text END AS written,
  pg_current_xact_id_if_assigned() IS NOT NULL AS has_changes,
  (SELECT system_identifier::text FROM pg_control_system()) AS system,
  CASE WHEN NOT pg_is_in_recovery()
    THEN left(pg_walfile_name(pg_current_wal_flush_lsn()), 8) END AS timeline
""",
)
# What has been made durable, which may be older than what is replayed, never newer: after a
# failover a replica is left alone until its next restart point.
SERVER = Query(
    ServerRow,
    """
SELECT system_identifier::text AS system, greatest(timeline_id, min_recovery_end_timeline)
  AS timeline
FROM pg_control_system(), pg_control_checkpoint(), pg_control_recovery()
""",
)
# A replica that was promoted goes on without us.
CURRENT = Query(
    ReplicaRow,
    "SELECT pg_is_in_recovery() AND coalesce(pg_last_wal_replay_lsn() >= %s::pg_lsn, false)"
    " AS is_current",
)
SET_USER = (
    f"SELECT set_config('{TENANT}', %s, true) AS tenant,"
    f" set_config('{OPERATOR}', %s, true) AS operator"
)


class _Pause:
    """How long the replica is left alone after it did not answer, in this process."""

    def __init__(self) -> None:
        self._until, self._reason = 0.0, ""

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._until

    def begin(self, reason: str, error: str = "") -> None:
        """reason: a key of PAUSE_SECONDS. It is logged when it changes."""
        if reason != self._reason:
            log.warning("the primary answers instead of the replica", reason=reason, error=error)
        self._until, self._reason = time.monotonic() + PAUSE_SECONDS[reason], reason

    def end(self) -> None:
        """The replica has answered."""
        if self._reason:
            log.info("the replica answers again")
        self._until, self._reason = 0.0, ""


_pause = _Pause()


def replica_rows(
    query: Query[Row], params: Params = None, *, patience: float = PAGE_SECONDS
) -> list[Row]:
    """Run one statement that only reads, on the replica if there is one; return its rows.

    It reaches the rows that the present transaction reaches, and sees what was committed before.
    After a change in this transaction the primary answers, which alone has it.

    patience: seconds to wait until the replica has replayed what is committed; inside of a
    transaction no more than a page waits, because the primary's session is idle meanwhile
    (`common.db.replica_sessions` has the sum of all waits).
    """
    if REPLICA not in connections.settings or not _pause.is_over:
        return rows(query, params)
    ready_within = lease_part(READY)
    if transaction.get_connection().in_atomic_block:
        patience = min(patience, PAGE_SECONDS, ready_within)
    else:
        ready_within += patience
    found = _from_replica(query, params, patience, ready_within)
    return rows(query, params) if found is None else found


def _from_replica(
    query: Query[Row], params: Params, patience: float, ready_within: float
) -> list[Row] | None:
    """Return the replica's rows; None if the primary must answer."""
    (present,) = rows(PRIMARY)
    if present.has_changes or present.written is None:
        return None
    try:
        with answers_within(ready_within):
            reason = _obstacle(present, patience)
        if reason:
            _pause.begin(reason)
            return None
        with answers_within(lease_part(ANSWER)), transaction.atomic(using=REPLICA):
            rows(SET_USER, (present.tenant, present.operator), using=REPLICA)
            found = rows(query, params, using=REPLICA)
    # It is down, or ended the statement: it took too long, or stood in the way of the replay.
    except (OperationalError, InterfaceError, InternalError) as error:
        _pause.begin("fails", str(error).strip().partition("\n")[0])
        connections[REPLICA].close()
        return None
    _pause.end()
    return found


def _obstacle(present: PrimaryRow, patience: float) -> str:
    """Return why the replica cannot answer for the primary, '' if it can."""
    if not _follows(present):
        return "differs"
    return "" if _has_replayed(str(present.written), patience) else "lags"


def _follows(present: PrimaryRow) -> bool:
    """Whether the replica follows this primary; read once for each session and primary."""
    primary = (present.system, int(str(present.timeline), 16))
    replica = connections[REPLICA]
    replica.ensure_connection()
    session: ReplicaSession = replica.connection
    if session.follows != primary:
        (server,) = rows(SERVER, using=REPLICA)
        if (server.system, server.timeline) != primary:
            return False
        session.follows = primary
    return True


def _has_replayed(written: str, patience: float) -> bool:
    end = time.monotonic() + patience
    while not rows(CURRENT, (written,), using=REPLICA)[0].is_current:
        if time.monotonic() >= end:
            return False
        time.sleep(POLL_SECONDS)
    return True


def replica_lag() -> dict[str, Any]:
    """Return facts about the replica for the doctor: whether it is ours, and how far behind.

    Raises Django's database errors if it does not answer.
    """
    (primary,) = rows(PRIMARY)
    (found,) = rows(
        "SELECT pg_is_in_recovery() AS follows,"
        " pg_wal_lsn_diff(%s::pg_lsn, pg_last_wal_replay_lsn())::bigint AS lag",
        (primary.written,),
        using=REPLICA,
    )
    (server,) = rows(SERVER, using=REPLICA)
    timeline = int(primary.timeline or "0", 16)
    return {
        "is_ours": server.system == primary.system,
        "follows": found.follows,
        "lag": found.lag,
        "timelines": (server.timeline, timeline),
    }
