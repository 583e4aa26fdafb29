"""Which process speaks to which account: lanes.

Most brokers are asked by calls that stand on their own, from any worker: lane ''. A broker with a
session (a login, a client id, a folder) must be spoken to by one process at a time. Its connections
lie in lanes, `sessions.<n>` or one that its broker names (`mt5.<terminal>`), and each lane is held
by one process at a time, by lease (`execution/runtime/lane_leases.py`). Whoever looks for work that
ends in a broker's call looks among the lanes that its process holds, and nowhere else.
"""

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zlib import crc32

from django.conf import settings

from brokers.account_capabilities import Capabilities
from brokers.registry import broker_types, capabilities_of
from brokers.types import ConnectionSpec
from common.errors import FillcastError, InvalidInputError, MisconfiguredError
from common.reason_codes import Code
from common.sql import array, rows, run
from connections.exposure import is_open_sql

if TYPE_CHECKING:
    from connections.models import ExecutionConnection

GENERAL = ""
SHARED = "sessions"
"""The queue of workers that share the `sessions.<n>` among themselves."""
LANE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\.[a-z0-9_-]{1,40}")
MAX_LANE_LENGTH = 60
HANDOVER_SECONDS = 5  # a lane on its way from one process to another is not called unheld

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
    """Whether a queue's name is a lane's."""
    return len(queue) <= MAX_LANE_LENGTH and LANE_NAME.fullmatch(queue) is not None


def lane_of(can: Capabilities, connection_id: UUID, lanes: int) -> str:
    """Return the lane of a connection that can so much, where sessions have `lanes` lanes. Pure.

    The same id (or the same shared session) always gives the same one. Raises InvalidInputError
    where the broker names a lane that is none.
    """
    if not can.session:
        return GENERAL
    if not can.lane:
        return hash_lane(can.session_key or str(connection_id), lanes)
    if not is_lane(can.lane):
        raise InvalidInputError(
            Code.FIELD_INVALID,
            f"{can.lane!r} cannot be a worker's queue: letters a-z, digits, _ and - only.",
            field="settings",
        )
    return can.lane


def hash_lane(key: str, lanes: int) -> str:
    """Return the lane of a key among so many; not `hash`, which differs between processes."""
    return f"{SHARED}.{crc32(key.encode()) % lanes}"


def assign_lane(
    broker_type: str, connection_id: UUID, account: str, connection_settings: Mapping[str, Any]
) -> str:
    """Return a connection's lane as its broker's adapter says, by what it is told now. Whoever
    shares a session is where the first of them is, whatever FILLCAST_SESSION_LANES has become
    since: call it in the transaction that saves.

    A kind whose library is not in this process may need a session: better a lane too many. One
    that nobody knows has none. Raises InvalidInputError where a broker names a lane that is none.
    """
    lane, shared = _lane_and_session_key(broker_type, connection_id, account, connection_settings)
    if not shared:
        return lane
    run(ASSIGN_LANE_SQL, (shared, lane))
    (settled,) = rows(
        "SELECT lane FROM connections_laneassignment WHERE session_key = %s", (shared,)
    )
    return str(settled.lane)


def _lane_and_session_key(
    broker_type: str, connection_id: UUID, account: str, connection_settings: Mapping[str, Any]
) -> tuple[str, str]:
    """Return the lane, and the key of the session that it was chosen by, if others share that."""
    lanes = settings.FILLCAST_SESSION_LANES
    if broker_type not in broker_types():
        return GENERAL, ""
    spec = ConnectionSpec(
        connection_id=str(connection_id), account=account, settings=connection_settings
    )
    try:
        can = capabilities_of(broker_type, spec)
    except (ImportError, MisconfiguredError):
        return hash_lane(str(connection_id), lanes), ""
    shared = can.session_key if can.session and not can.lane else ""
    return lane_of(can, connection_id, lanes), shared


# ---- what this process holds -------------------------------------------------------------------
def register_held_lanes(lanes: Callable[[], tuple[str, ...]] = _general) -> None:
    """Let this process's lanes be what `held_lanes` says at each look; else just the general
    one."""
    global _held_lanes
    _held_lanes = lanes


def held_lanes() -> tuple[str, ...]:
    """Return the lanes that this process may speak for now; general workers have just ''."""
    return _held_lanes()


def snapshot_idle() -> None:
    """Remember from now on whom `mark_active` names, until `mark_idle`: who is looked for may be
    woken meanwhile, and must not rest by what was seen before."""
    global _activated
    with _lock:
        _activated = set()


def mark_idle(connection_ids: Iterable[UUID]) -> None:
    """Let rounds of this process leave these alone: their sessions are closed, until used."""
    global _idle, _activated
    with _lock:
        _idle = frozenset(map(str, connection_ids)) - (_activated or set())
        _activated = None


def mark_active(connection_ids: Iterable[str]) -> None:
    """Let rounds look after these again: an order is on its way there, or their lane is taken anew.
    Cheap where none rests."""
    global _idle
    if not _idle and _activated is None:
        return
    named = frozenset(connection_ids)
    with _lock:
        _idle -= named
        if _activated is not None:
            _activated.update(named)


def is_idle(connection_id: UUID | str) -> bool:
    """Whether rounds of this process leave an account alone."""
    return str(connection_id) in _idle


def held_lanes_parameters() -> dict[str, str]:
    """The parameters of `IN_HELD_LANES_SQL` and `in_held_lanes_sql`."""
    return {"lanes": array(held_lanes())}


def idle_parameters() -> dict[str, str]:
    """The parameter of `not_idle_sql`."""
    return {"resting": array(_idle)}


def not_idle_sql() -> str:
    """Return SQL for whether the session of connection `c` may be used by a mere round.

    Nobody rests who has something open, whatever this process remembers: another one may have held
    the lane meanwhile, or somebody has adopted what its owner opened by hand. Its parameters:
    `idle_parameters`.
    """
    return f"(c.id <> ALL(%(resting)s::uuid[]) OR {is_open_sql('c.id')})"


IN_HELD_LANES_SQL = "c.lane = ANY(%(lanes)s::text[])"
"""SQL: whether connection `c` is in a lane of this process. Parameters: `held_lanes_parameters`."""


def in_held_lanes_sql(column: str) -> str:
    """Return SQL for the same where the connection is not joined, only its id is there.

    Whatever the plan is without it stays the plan: the few connections that have (or have not) to
    do with the lanes are hashed once a statement, and no row is joined. In a CASE, so that the
    planner cannot turn it into a join.
    """
    lanes, of = "%(lanes)s::text[]", "SELECT id FROM connections_executionconnection WHERE lane"
    return (
        f"(CASE WHEN '' = ANY({lanes}) THEN {column} NOT IN ({of} <> '' AND lane <> ALL({lanes}))"
        f" ELSE {column} IN ({of} = ANY({lanes})) END)"
    )


# ---- who holds what ----------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Lane:
    """A lane with connections. owner: the process that holds it, '' if none does."""

    name: str
    connections: int
    owner: str
    seconds: float | None  # since it is held, or since when nobody does; None: nobody ever did

    @property
    def remedy(self) -> str:
        """What to start where nobody holds it."""
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
    """Return every lane that has connections, and who holds it."""
    return [Lane(row.name, row.connections, row.owner, row.seconds) for row in rows(LANES_SQL)]


def lanes_without_worker(seconds: float = 0) -> frozenset[str]:
    """Return the lanes with connections that no process has held for at least so many seconds."""
    return frozenset(row.lane for row in rows(LANES_WITHOUT_WORKER_SQL, (seconds,)))


def lane_owner(lane: str) -> str:
    """Return the process that holds a lane, '' if none does (or all do: the general one)."""
    if lane == GENERAL:
        return ""
    found = rows(
        "SELECT owner FROM connections_lanelease WHERE lane = %s AND until >= clock_timestamp()",
        (lane,),
    )
    return str(found[0].owner) if found else ""


def start_worker_hint(lane: str) -> str:
    """Return what operators should start where nobody holds a lane."""
    if lane.startswith(f"{SHARED}."):
        return f"start a session worker: `celery -A config worker -P threads -Q {SHARED}`"
    return f"start the worker beside its terminal: `celery -A config worker -P threads -Q {lane}`"


def missing_worker_message(lane: str) -> str:
    """Return what the owner of an account should know where nobody holds its lane."""
    if lane.startswith(f"{SHARED}."):
        missing = "No session worker runs, and this kind of account is spoken to by one"
    else:
        _, terminal = lane.split(".", 1)
        missing = f"No worker runs beside the terminal {terminal!r}"
    return (
        f"{missing}: until one does it is not read, and its orders wait. Whoever runs this"
        f" installation must {start_worker_hint(lane)}."
    )


def require_lane_held(lane: str) -> None:
    """Raise UnheldError if this process may not speak for a lane."""
    if lane not in held_lanes():
        owner = lane_owner(lane)
        elsewhere = f"This process does not hold lane {lane}; {owner} holds it."
        raise LaneNotHeldError(
            Code.NO_SESSION_WORKER, elsewhere if owner else missing_worker_message(lane)
        )


def missing_worker_hint(connection: "ExecutionConnection") -> str:
    """Return what must be started before an account can be spoken to; '': nothing."""
    if connection.lane == GENERAL:
        return ""
    has_worker = getattr(connection, "has_worker", None)
    if has_worker is None:
        has_worker = bool(lane_owner(connection.lane))
    return "" if has_worker else missing_worker_message(connection.lane)
