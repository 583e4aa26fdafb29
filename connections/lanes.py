"""Which process speaks to which account: lanes.

Most brokers are asked by calls that stand on their own, from any worker: lane ''. A broker with a
session (a login, a client id, a folder) must be spoken to by one process at a time. Its connections
lie in lanes, `sessions.<n>` or one that its broker names (`mt5.<terminal>`), and each lane is held
by one process at a time, by lease (`execution/calls/lanes.py`). Whoever looks for work that ends in
a broker's call looks among the lanes that its process holds, and nowhere else.
"""

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from zlib import crc32

from django.conf import settings

from brokers.messages import Capabilities, ConnectionSpec
from brokers.registry import capabilities_of, kinds
from common.codes import Code
from common.errors import FillcastError, InvalidInputError, MisconfiguredError
from common.sql import array, rows, run
from connections.open import is_open

GENERAL = ""
SHARED = "sessions"
"""The queue of workers that share the `sessions.<n>` among themselves."""
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\.[a-z0-9_-]{1,40}")
LONGEST = 60
MOVING_SECONDS = 5  # a lane on its way from one process to another is not called unheld

SETTLE = """
INSERT INTO connections_sessionlane (session_key, lane) VALUES (%s, %s)
ON CONFLICT (session_key) DO NOTHING
"""

_lock = threading.Lock()
_resting: frozenset[str] = frozenset()
_woken: set[str] | None = None


def _general() -> tuple[str, ...]:
    return (GENERAL,)


_held: Callable[[], tuple[str, ...]] = _general


class UnheldError(FillcastError):
    """A call to a broker by a process that does not hold the connection's lane."""


# ---- which lane --------------------------------------------------------------------------------
def is_lane(queue: str) -> bool:
    """Whether a queue's name is a lane's."""
    return len(queue) <= LONGEST and NAME.fullmatch(queue) is not None


def lane_of(can: Capabilities, connection_id: UUID, lanes: int) -> str:
    """Return the lane of a connection that can so much, where sessions have `lanes` lanes. Pure.

    The same id (or the same shared session) always gives the same one. Raises InvalidInputError
    where the broker names a lane that is none.
    """
    if not can.session:
        return GENERAL
    if not can.lane:
        return nth(can.session_key or str(connection_id), lanes)
    if not is_lane(can.lane):
        raise InvalidInputError(
            Code.FIELD_INVALID,
            f"{can.lane!r} cannot be a worker's queue: letters a-z, digits, _ and - only.",
            field="settings",
        )
    return can.lane


def nth(key: str, lanes: int) -> str:
    """Return the lane of a key among so many; not `hash`, which differs between processes."""
    return f"{SHARED}.{crc32(key.encode()) % lanes}"


def settled_lane_for(kind: str, connection_id: UUID, account: str, said: Mapping[str, Any]) -> str:
    """Return a connection's lane as its broker's adapter says, by what it is told now. Whoever
    shares a session is where the first of them is, whatever FILLCAST_SESSION_LANES has become
    since: call it in the transaction that saves.

    A kind whose library is not in this process may need a session: better a lane too many. One
    that nobody knows has none. Raises InvalidInputError where a broker names a lane that is none.
    """
    lane, shared = _placed(kind, connection_id, account, said)
    if not shared:
        return lane
    run(SETTLE, (shared, lane))
    (settled,) = rows("SELECT lane FROM connections_sessionlane WHERE session_key = %s", (shared,))
    return str(settled.lane)


def _placed(
    kind: str, connection_id: UUID, account: str, said: Mapping[str, Any]
) -> tuple[str, str]:
    """Return the lane, and the key of the session that it was chosen by, if others share that."""
    lanes = settings.FILLCAST_SESSION_LANES
    if kind not in kinds():
        return GENERAL, ""
    spec = ConnectionSpec(connection_id=str(connection_id), account=account, settings=said)
    try:
        can = capabilities_of(kind, spec)
    except (ImportError, MisconfiguredError):
        return nth(str(connection_id), lanes), ""
    shared = can.session_key if can.session and not can.lane else ""
    return lane_of(can, connection_id, lanes), shared


# ---- what this process holds -------------------------------------------------------------------
def use(held: Callable[[], tuple[str, ...]] = _general) -> None:
    """Let this process's lanes be what `held` says at each look; else just the general one."""
    global _held
    _held = held


def held() -> tuple[str, ...]:
    """Return the lanes that this process may speak for now; general workers have just ''."""
    return _held()


def look_who_rests() -> None:
    """Remember from now on whom `wake` names, until `let_rest`: who is looked for may be woken
    meanwhile, and must not rest by what was seen before."""
    global _woken
    with _lock:
        _woken = set()


def let_rest(connection_ids: Iterable[UUID]) -> None:
    """Let rounds of this process leave these alone: their sessions are closed, until used."""
    global _resting, _woken
    with _lock:
        _resting = frozenset(map(str, connection_ids)) - (_woken or set())
        _woken = None


def wake(connection_ids: Iterable[str]) -> None:
    """Let rounds look after these again: an order is on its way there, or their lane is taken anew.
    Cheap where none rests."""
    global _resting
    if not _resting and _woken is None:
        return
    named = frozenset(connection_ids)
    with _lock:
        _resting -= named
        if _woken is not None:
            _woken.update(named)


def rests(connection_id: UUID) -> bool:
    """Whether rounds of this process leave an account alone."""
    return str(connection_id) in _resting


def in_held() -> dict[str, str]:
    """The parameters of `IN_LANES` and `of_lanes`."""
    return {"lanes": array(held())}


def resting() -> dict[str, str]:
    """The parameter of `is_up`."""
    return {"resting": array(_resting)}


def is_up() -> str:
    """Return SQL for whether the session of connection `c` may be used by a mere round.

    Nobody rests who has something open, whatever this process remembers: another one may have held
    the lane meanwhile, or somebody has adopted what its owner opened by hand. Its parameters:
    `resting`.
    """
    return f"(c.id <> ALL(%(resting)s::uuid[]) OR {is_open('c.id')})"


IN_LANES = "c.lane = ANY(%(lanes)s::text[])"
"""SQL: whether connection `c` is in a lane of this process. Parameters: `in_held`."""


def of_lanes(column: str) -> str:
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
        return start_of(self.name)


LANES = """
SELECT c.lane AS name, count(*) AS connections,
  coalesce(max(l.owner) FILTER (WHERE l.until >= clock_timestamp()), '') AS owner,
  extract(epoch FROM clock_timestamp() - CASE WHEN max(l.until) >= clock_timestamp()
    THEN max(l.taken_at) ELSE max(l.until) END)::float8 AS seconds
FROM connections_executionconnection c LEFT JOIN connections_lanelease l ON l.lane = c.lane
WHERE c.lane <> '' AND c.archived_at IS NULL
GROUP BY c.lane ORDER BY c.lane
"""

LANES_HELD = "SELECT lane FROM connections_lanelease WHERE until >= clock_timestamp()"

UNHELD = """
SELECT DISTINCT c.lane FROM connections_executionconnection c
WHERE c.lane <> '' AND c.archived_at IS NULL AND NOT EXISTS (
  SELECT FROM connections_lanelease l
  WHERE l.lane = c.lane AND l.until >= clock_timestamp() - make_interval(secs => %s))
"""


def in_use() -> list[Lane]:
    """Return every lane that has connections, and who holds it."""
    return [Lane(row.name, row.connections, row.owner, row.seconds) for row in rows(LANES)]


def unheld(seconds: float = 0) -> frozenset[str]:
    """Return the lanes with connections that nobody holds, for so long at least."""
    return frozenset(row.lane for row in rows(UNHELD, (seconds,)))


def owner_of(lane: str) -> str:
    """Return the process that holds a lane, '' if none does (or all do: the general one)."""
    if lane == GENERAL:
        return ""
    found = rows(
        "SELECT owner FROM connections_lanelease WHERE lane = %s AND until >= clock_timestamp()",
        (lane,),
    )
    return str(found[0].owner) if found else ""


def start_of(lane: str) -> str:
    """Return what operators should start where nobody holds a lane."""
    if lane.startswith(f"{SHARED}."):
        return f"start a session worker: `celery -A config worker -P threads -Q {SHARED}`"
    return f"start the worker beside its terminal: `celery -A config worker -P threads -Q {lane}`"


def waiting_for(lane: str) -> str:
    """Return what the owner of an account should know where nobody holds its lane."""
    if lane.startswith(f"{SHARED}."):
        missing = "No session worker runs, and this kind of account is spoken to by one"
    else:
        _, terminal = lane.split(".", 1)
        missing = f"No worker runs beside the terminal {terminal!r}"
    return (
        f"{missing}: until one does it is not read, and its orders wait. Whoever runs this"
        f" installation must {start_of(lane)}."
    )


def refuse_unheld(lane: str) -> None:
    """Raise UnheldError if this process may not speak for a lane."""
    if lane not in held():
        owner = owner_of(lane)
        elsewhere = f"This process does not hold lane {lane}; {owner} holds it."
        raise UnheldError(Code.LANE_UNHELD, elsewhere if owner else waiting_for(lane))
