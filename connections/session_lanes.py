"""Session lanes: which process calls the broker of which account.

Most brokers take independent calls, which any worker can make: lane ''. With a session (a login, a
client id, a folder) only one process at a time may call the broker. Such connections are in lanes,
`sessions.<n>` or one that the broker names (`mt5.<terminal>`), and one process at a time holds each
lane, by lease (`execution/runtime/lane_leases.py`). Every query for work that ends in a broker call
must select only connections in the lanes that its process holds.
"""

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID
from zlib import crc32

from brokers.account_capabilities import Capabilities
from brokers.registry import broker_types, capabilities_of
from brokers.types import ConnectionSpec
from common.db.sql import array, rows, run
from common.errors import FillcastError, InvalidInputError, MisconfiguredError
from common.operational.current import settings_now
from common.reason_codes import Code
from connections.exposure import is_open_sql

GENERAL = ""
SHARED = "sessions"
"""The queue of the workers that share the lanes `sessions.<n>`."""
LANE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\.[a-z0-9_-]{1,40}")
MAX_LANE_LENGTH = 60
HANDOVER_SECONDS = 5  # a lane may be free for so long while it moves between processes

ASSIGN_LANE_SQL = """
INSERT INTO connections_laneassignment (session_key, lane) VALUES (%s, %s)
ON CONFLICT (session_key) DO NOTHING
"""

_lock = threading.Lock()
_idle: frozenset[str] = frozenset()
_activated: set[str] | None = None


def _general() -> tuple[str, ...]:
    return (GENERAL,)


_held_lanes: Callable[[], tuple[str, ...]] = _general


class LaneNotHeldError(FillcastError):
    """A call to a broker by a process that does not hold the connection's lane."""


# ---- which lane --------------------------------------------------------------------------------
def is_lane(queue: str) -> bool:
    """Return whether a queue's name is a lane's."""
    return len(queue) <= MAX_LANE_LENGTH and LANE_NAME.fullmatch(queue) is not None


def lane_of(capabilities: Capabilities, connection_id: UUID, lanes: int) -> str:
    """Return the lane of a connection with these capabilities. Pure.

    lanes: the number of `sessions.<n>`. The same id (or the same shared session) always gives the
    same lane. Raises InvalidInputError if the broker names an invalid lane.
    """
    if not capabilities.session:
        return GENERAL
    if not capabilities.lane:
        return hash_lane(capabilities.session_key or str(connection_id), lanes)
    if not is_lane(capabilities.lane):
        raise InvalidInputError(
            Code.FIELD_INVALID,
            f"{capabilities.lane!r} cannot be a worker's queue: letters a-z, digits, _ and - only.",
            field="settings",
        )
    return capabilities.lane


def hash_lane(key: str, lanes: int) -> str:
    """Return one of so many lanes by a key. (Python's `hash` differs between processes.)"""
    return f"{SHARED}.{crc32(key.encode()) % lanes}"


def assign_lane(
    broker_type: str, connection_id: UUID, account: str, connection_settings: Mapping[str, Any]
) -> str:
    """Return the lane of a connection. Call it in the transaction that saves the connection.

    Connections that share a session get the lane of the first of them, even if
    execution.session_lanes has changed since. A broker type whose library is not installed in this
    process gets a lane, because it may need a session; an unknown one gets none. Raises
    InvalidInputError if the broker names an invalid lane.
    """
    lane, session_key = _lane_and_session_key(
        broker_type, connection_id, account, connection_settings
    )
    if not session_key:
        return lane
    run(ASSIGN_LANE_SQL, (session_key, lane))
    (assigned,) = rows(
        "SELECT lane FROM connections_laneassignment WHERE session_key = %s", (session_key,)
    )
    return str(assigned.lane)


def _lane_and_session_key(
    broker_type: str, connection_id: UUID, account: str, connection_settings: Mapping[str, Any]
) -> tuple[str, str]:
    """Return the lane, and the key of the session if connections may share it; else ''."""
    lanes = settings_now().execution.session_lanes
    if broker_type not in broker_types():
        return GENERAL, ""
    spec = ConnectionSpec(
        connection_id=str(connection_id), account=account, settings=connection_settings
    )
    try:
        capabilities = capabilities_of(broker_type, spec)
    except (ImportError, MisconfiguredError):
        return hash_lane(str(connection_id), lanes), ""
    is_shared = capabilities.session and not capabilities.lane
    session_key = capabilities.session_key if is_shared else ""
    return lane_of(capabilities, connection_id, lanes), session_key


# ---- what this process holds -------------------------------------------------------------------
def register_held_lanes(lanes: Callable[[], tuple[str, ...]] = _general) -> None:
    """Set how `held_lanes` finds this process's lanes; default: the general one only."""
    global _held_lanes
    _held_lanes = lanes


def held_lanes() -> tuple[str, ...]:
    """Return the lanes that this process holds now; general workers have only ''."""
    return _held_lanes()


def begin_idle_update() -> None:
    """Begin to record calls of `mark_active`; `mark_idle` ends it and excepts those accounts.

    Call it before reading which accounts are idle: one that becomes active meanwhile must not be
    marked as idle by an outdated result.
    """
    global _activated
    with _lock:
        _activated = set()


def mark_idle(connection_ids: Iterable[UUID]) -> None:
    """Exclude exactly these accounts from this process's polling: their sessions are closed."""
    global _idle, _activated
    with _lock:
        _idle = frozenset(map(str, connection_ids)) - (_activated or set())
        _activated = None


def mark_active(connection_ids: Iterable[str]) -> None:
    """Poll these accounts again: they have a new order, or their lane was taken over again.

    Cheap if no account is idle.
    """
    global _idle
    if not _idle and _activated is None:
        return
    ids = frozenset(connection_ids)
    with _lock:
        _idle -= ids
        if _activated is not None:
            _activated.update(ids)


def is_idle(connection_id: UUID | str) -> bool:
    """Return whether this process's polling excludes an account."""
    return str(connection_id) in _idle


def held_lanes_parameters() -> dict[str, str]:
    """Return the parameters of `IN_HELD_LANES_SQL` and `in_held_lanes_sql`."""
    return {"lanes": array(held_lanes())}


def idle_parameters() -> dict[str, str]:
    """Return the parameters of `not_idle_sql`."""
    return {"idle_ids": array(_idle)}


def not_idle_sql() -> str:
    """Return SQL for whether polling may use the session of connection `c`.

    An account with anything open is never idle, whatever this process remembers: another process
    may have held the lane meanwhile, or a position opened by hand may have been adopted.
    Parameters: `idle_parameters`.
    """
    return f"(c.id <> ALL(%(idle_ids)s::uuid[]) OR {is_open_sql('c.id')})"


IN_HELD_LANES_SQL = "c.lane = ANY(%(lanes)s::text[])"
"""SQL: whether connection `c` is in a lane of this process. Parameters: `held_lanes_parameters`."""


def in_held_lanes_sql(column: str) -> str:
    """Return SQL as IN_HELD_LANES_SQL, for statements without `c`. column: the connection's id.

    It does not change the statement's plan: the ids of the few connections that are (or are not) in
    the lanes are hashed once, and the CASE keeps the planner from turning this into a join.
    """
    lanes = "%(lanes)s::text[]"
    ids_where_lane = "SELECT id FROM connections_executionconnection WHERE lane"
    return (
        f"(CASE WHEN '' = ANY({lanes})"
        f" THEN {column} NOT IN ({ids_where_lane} <> '' AND lane <> ALL({lanes}))"
        f" ELSE {column} IN ({ids_where_lane} = ANY({lanes})) END)"
    )


# ---- which process holds which lane ------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Lane:
    """A lane with connections.

    owner: the process that holds it, '' if none does. seconds: for how long it has been held, or
    free; None: it was never held.
    """

    name: str
    connections: int
    owner: str
    seconds: float | None

    @property
    def remedy(self) -> str:
        """What to start if no process holds it."""
        return start_worker_hint(self.name)


LANES_SQL = """
SELECT c.lane AS name, count(*) AS connections,
  coalesce(max(l.owner) FILTER (WHERE l.until >= clock_timestamp()), '') AS owner,
  extract(epoch FROM clock_timestamp() - CASE WHEN max(l.until) >= clock_timestamp()
    THEN max(l.acquired_at) ELSE max(l.until) END)::float8 AS seconds
FROM connections_executionconnection c LEFT JOIN connections_lanelease l ON l.lane = c.lane
WHERE c.lane <> '' AND c.archived_at IS NULL
GROUP BY c.lane ORDER BY c.lane
"""

HELD_LANES_SQL = "SELECT lane FROM connections_lanelease WHERE until >= clock_timestamp()"

LANES_WITHOUT_WORKER_SQL = """
SELECT DISTINCT c.lane FROM connections_executionconnection c
WHERE c.lane <> '' AND c.archived_at IS NULL AND NOT EXISTS (
  SELECT FROM connections_lanelease l
  WHERE l.lane = c.lane AND l.until >= clock_timestamp() - make_interval(secs => %s))
"""


def lanes_in_use() -> list[Lane]:
    """Return every lane that has connections, with its owner."""
    return [Lane(row.name, row.connections, row.owner, row.seconds) for row in rows(LANES_SQL)]


def lanes_without_worker(seconds: float = 0) -> frozenset[str]:
    """Return the lanes with connections that no process has held for at least so many seconds."""
    return frozenset(row.lane for row in rows(LANES_WITHOUT_WORKER_SQL, (seconds,)))


def lane_owner(lane: str) -> str:
    """Return the process that holds a lane; '' if none does, and for the general lane."""
    if lane == GENERAL:
        return ""
    leases = rows(
        "SELECT owner FROM connections_lanelease WHERE lane = %s AND until >= clock_timestamp()",
        (lane,),
    )
    return str(leases[0].owner) if leases else ""


def start_worker_hint(lane: str) -> str:
    """Return what operators should start if no process holds a lane."""
    if lane.startswith(f"{SHARED}."):
        return f"start a session worker: `celery -A config worker -P threads -Q {SHARED}`"
    return f"start the worker beside its terminal: `celery -A config worker -P threads -Q {lane}`"


def missing_worker_message_of_lane(lane: str) -> str:
    """Return the message for owners of a lane's accounts: no process holds it, and what to do."""
    if lane.startswith(f"{SHARED}."):
        missing = "No session worker is running, and this account needs one"
    else:
        _, terminal = lane.split(".", 1)
        missing = f"No worker is running beside the terminal {terminal!r}"
    return (
        f"{missing}. Until one runs, the account is not read and its orders wait. The operators"
        f" must {start_worker_hint(lane)}."
    )


def require_lane_held(lane: str) -> None:
    """Raise LaneNotHeldError if this process does not hold a lane."""
    if lane not in held_lanes():
        owner = lane_owner(lane)
        held_elsewhere = f"This process does not hold lane {lane}; {owner} holds it."
        raise LaneNotHeldError(
            Code.NO_SESSION_WORKER,
            held_elsewhere if owner else missing_worker_message_of_lane(lane),
        )


class InLane(Protocol):
    """An account, of which only the lane counts here."""

    @property
    def lane(self) -> str:
        """The lane whose holder trades on it."""


def missing_worker_message(connection: InLane) -> str:
    """Return the message for an account's owner if no process holds its lane; '' if one does."""
    if connection.lane == GENERAL:
        return ""
    has_worker = getattr(connection, "has_worker", None)
    if has_worker is None:
        has_worker = bool(lane_owner(connection.lane))
    return "" if has_worker else missing_worker_message_of_lane(connection.lane)
