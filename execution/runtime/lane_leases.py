"""The lanes that this process holds: taken by lease, prolonged, shared fairly, given back.

One owner at a time, whatever dies or stands still. A lane is taken only when its lease has run out
by the database's clock; its owner counts the same seconds by its own clock, from before it asked,
and so stops first. Whoever takes one finds none of its accounts compared: no entry goes out before
each has been (`connections.reconciled_at`), for what the last owner had under way is known to its
rows and to the broker alone.
"""

import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import structlog
from django.db import transaction

from common.clocks import machine_time
from common.failpoints import failpoint
from common.sql import array, columns, rows, run
from connections.session_lanes import GENERAL, SHARED, is_lane

log = structlog.get_logger(__name__)
OnLaneChange = Callable[[str, bool], None]


def ignore_lane_change(lane: str, is_ours: bool) -> None:
    """Nobody wants to know."""


TAKE = """
INSERT INTO connections_lanelease AS l (lane, owner, fence, acquired_at, until)
SELECT lane, %(owner)s, 1, clock_timestamp(), clock_timestamp() + make_interval(secs => %(lease)s)
FROM unnest(%(lanes)s::text[]) AS t (lane) ORDER BY lane
ON CONFLICT (lane) DO UPDATE SET owner = EXCLUDED.owner, fence = l.fence + 1,
  acquired_at = EXCLUDED.acquired_at, until = EXCLUDED.until
WHERE l.until < clock_timestamp()
RETURNING lane, fence
"""

# Who did not answer the last owner may answer this one, from another machine: it rests no longer.
RESET_RECONCILED = """
UPDATE connections_connectionhealth SET reconciled_at = NULL,
  circuit_open_until = CASE WHEN unreachable_at IS NULL THEN circuit_open_until END
WHERE connection_id IN (
  SELECT h.connection_id FROM connections_connectionhealth h
  JOIN connections_executionconnection c ON c.id = h.connection_id
  WHERE c.lane = ANY(%s::text[]) AND (h.reconciled_at IS NOT NULL
    OR h.circuit_open_until IS NOT NULL AND h.unreachable_at IS NOT NULL)
  ORDER BY h.connection_id FOR NO KEY UPDATE OF h)
"""

# The last owner makes no call any more: what it had claimed to look up is due.
RELEASE_LOOKUPS = """
UPDATE execution_order SET lookup_claimed_until = NULL WHERE id = ANY(ARRAY(
  SELECT o.id FROM execution_order o
  JOIN connections_executionconnection c ON c.id = o.connection_id
  WHERE o.lookup_after IS NOT NULL AND o.lookup_claimed_until IS NOT NULL
    AND c.lane = ANY(%s::text[])
  ORDER BY o.id FOR NO KEY UPDATE OF o SKIP LOCKED))
"""

RENEW = """
UPDATE connections_lanelease l SET until = clock_timestamp() + make_interval(secs => %s)
FROM unnest(%s::text[], %s::bigint[]) AS t (lane, fence)
WHERE l.lane = t.lane AND l.fence = t.fence AND l.owner = %s
RETURNING l.lane
"""

RELEASE = """
UPDATE connections_lanelease l SET owner = '', until = clock_timestamp()
FROM unnest(%s::text[], %s::bigint[]) AS t (lane, fence)
WHERE l.lane = t.lane AND l.fence = t.fence AND l.owner = %s
"""

# Roles are queues joined by +. A lane that a live worker names is that worker's, not to be shared.
SHARES = f"""
WITH alive AS (
  SELECT string_to_array(role, '+') AS queues FROM execution_workerlease
  WHERE lease_until > clock_timestamp()
)
SELECT (SELECT count(*) FROM alive WHERE '{SHARED}' = ANY(queues)) AS workers,
  ARRAY(SELECT DISTINCT c.lane FROM connections_executionconnection c
    WHERE c.lane <> '' AND starts_with(c.lane, '{SHARED}.')
      AND NOT EXISTS (SELECT FROM alive WHERE c.lane = ANY(queues)) ORDER BY 1) AS lanes
"""

FREE = """
SELECT t.lane FROM unnest(%s::text[]) AS t (lane)
LEFT JOIN connections_lanelease l ON l.lane = t.lane
WHERE l.lane IS NULL OR l.until < clock_timestamp() ORDER BY t.lane
"""


@dataclass(frozen=True, slots=True)
class LaneSelection:
    """Which lanes a process is for, by its queues."""

    general: bool
    shares: bool
    named: frozenset[str]

    @classmethod
    def of(cls, queues: Collection[str]) -> "LaneSelection":
        """`sessions`: a fair share of those; a lane's own name: just that one; others: general."""
        named = frozenset(filter(is_lane, queues))
        return cls(bool({*queues} - named - {SHARED}), SHARED in queues, named)

    @property
    def holds_session_lanes(self) -> bool:
        """Whether it is to hold any lane besides the general one."""
        return self.shares or bool(self.named)


@dataclass(slots=True)
class HeldLease:
    """A lane of ours. until: machine_time(), past which nothing may leave. is_leaving: nothing new
    is begun in it."""

    fence: int
    until: float
    is_leaving: bool = False


def fair_share(lanes: int, workers: int) -> int:
    """Return how many of so many lanes a worker holds at most, where so many share them. Pure."""
    return -(-lanes // max(workers, 1))


class LaneLeaseManager:
    """The lanes of one process. `renew` and `balance` are called about once a second."""

    def __init__(
        self,
        owner: str,
        selection: LaneSelection,
        lease_seconds: float,
        on_change: OnLaneChange = ignore_lane_change,
    ) -> None:
        """on_change: told of each lane that becomes ours, or is ours no more to work for."""
        self.selection = selection
        self._owner, self._lease, self._on_change = owner, lease_seconds, on_change
        self._lock = threading.Lock()
        self._held: dict[str, HeldLease] = {}
        self._lost: set[str] = set()
        self._is_ending = threading.Event()
        self._general = (GENERAL,) if selection.general else ()

    # ---- what may be done now --------------------------------------------------------------
    def held(self) -> tuple[str, ...]:
        """Return the lanes in which work may begin now."""
        if not self._held:
            return self._general
        now = machine_time()
        with self._lock:
            ours = [name for name, one in self._held.items() if one.until > now]
            return (*self._general, *(one for one in ours if not self._held[one].is_leaving))

    def until(self, lane: str) -> float:
        """Return the machine_time() until when a call of this lane may leave."""
        if lane == GENERAL:
            return float("inf")
        held = self._held.get(lane)
        return held.until if held else float("-inf")

    def may_begin(self, lane: str) -> bool:
        """Whether a call may begin in this lane now: it is ours and is not being given back."""
        if lane == GENERAL:
            return True
        held = self._held.get(lane)
        return held is not None and not held.is_leaving and machine_time() <= held.until

    @property
    def names(self) -> list[str]:
        """Lanes that are ours and not given back, though nothing may be begun in some of them."""
        with self._lock:
            return list(self._held)

    @property
    def leaving(self) -> list[str]:
        """Lanes that are to be given back as soon as their calls have ended."""
        with self._lock:
            return [name for name, one in self._held.items() if one.is_leaving]

    def drop_lost(self) -> list[str]:
        """Return the lanes that were lost since the last time: their sessions are to be closed."""
        with self._lock:
            lost, self._lost = sorted(self._lost - self._held.keys()), set()
            return lost

    # ---- leases ----------------------------------------------------------------------------
    def renew(self) -> None:
        """Prolong what we hold by one UPDATE; a lane whose row is not ours any more is lost."""
        with self._lock:
            fences = {name: one.fence for name, one in self._held.items()}
        if not fences:
            return
        asked_at = machine_time()
        names, numbers = columns(list(fences.items()), 2)
        kept = {row.lane for row in rows(RENEW, (self._lease, names, numbers, self._owner))}
        with self._lock:
            ours = {name for name, one in self._held.items() if one.fence == fences.get(name)}
            for name in kept & ours:
                self._held[name].until = asked_at + self._lease
        # Not what was given back and taken anew meanwhile: that is held under another fence.
        self._forget(sorted(ours - kept), are_lost=True)

    def balance(self) -> list[str]:
        """Take what is free and wanted, up to our share; mark what is too much as leaving.

        Returns the lanes that were taken.
        """
        selected = set(self.selection.named)
        if self.selection.shares:
            (shares,) = rows(SHARES)
            ours = sorted(name for name in self._held if name not in self.selection.named)
            maximum = fair_share(len(shares.lanes), shares.workers)
            staying = [name for name in ours if name in shares.lanes][:maximum]
            self._leave(name for name in ours if name not in staying)
            selected |= self._free(shares.lanes, maximum - len(staying))
        return self._take([one for one in sorted(selected) if one not in self._held])

    def _free(self, lanes: Iterable[str], maximum: int) -> set[str]:
        if maximum <= 0:
            return set()
        found = rows(FREE, (array(one for one in lanes if one not in self._held),))
        return {row.lane for row in found[:maximum]}

    def _take(self, names: list[str]) -> list[str]:
        free = [row.lane for row in rows(FREE, (array(names),))] if names else []
        if not free or self._is_ending.is_set():
            return []
        asked_at = machine_time()
        with transaction.atomic():
            parameters = {"owner": self._owner, "lease": self._lease, "lanes": array(free)}
            taken = {row.lane: row.fence for row in rows(TAKE, parameters)}
            run(RESET_RECONCILED, (array(taken),))
            run(RELEASE_LOOKUPS, (array(taken),))
        failpoint("lane.taken")
        with self._lock:
            until, ends = asked_at + self._lease, self._is_ending.is_set()
            self._held |= {name: HeldLease(fence, until, ends) for name, fence in taken.items()}
        if ends:  # whoever ends the process gives them back with the others
            return []
        for name in taken:
            log.info("a lane is ours", lane=name)
            self._on_change(name, True)
        return list(taken)

    def _leave(self, names: Iterable[str]) -> None:
        for name in names:
            with self._lock:
                held = self._held.get(name)
                if held is None or held.is_leaving:
                    continue
                held.is_leaving = True
            log.info("a lane is to be given back", lane=name)
            self._on_change(name, False)

    def leave_all(self) -> None:
        """Begin nothing new in any lane, and take none any more: this process ends."""
        with self._lock:
            self._is_ending.set()
        self._leave(list(self._held))

    def release(self, names: Collection[str]) -> None:
        """End the leases of lanes whose calls have ended and whose sessions are closed."""
        with self._lock:
            fences = [(name, self._held[name].fence) for name in names if name in self._held]
        self._forget([name for name, _ in fences], are_lost=False)  # first: nothing leaves now
        if fences:
            run(RELEASE, (*columns(fences, 2), self._owner))

    def _forget(self, names: Iterable[str], *, are_lost: bool) -> None:
        for name in names:
            with self._lock:
                if (held := self._held.pop(name, None)) is None:
                    continue
                if are_lost:
                    self._lost.add(name)
            if are_lost:
                log.error("a lane was lost: its sessions are closed", lane=name)
            if not held.is_leaving:
                self._on_change(name, False)
