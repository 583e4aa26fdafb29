"""The leases of the session lanes that this process holds: take, renew, share fairly, release.

A lane has one owner at a time, even if a process dies or hangs. A lane is taken only after its
lease has expired by the database's clock. Its owner counts the same seconds by its own clock, from
before its request, so it stops earlier. A new owner resets `reconciled_at` of the lane's accounts:
no entry is sent before each was compared, since only the rows and the broker know which calls the
last owner had in flight.
"""

import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import structlog
from django.db import transaction

from common.clocks import machine_time
from common.db.sql import array, periodic_rows, run
from common.failpoints import failpoint
from connections.selectors import connection_join_sql
from connections.services import (
    free_lanes,
    release_leases,
    renew_leases,
    require_reconciliation_of_lanes,
    take_leases,
)
from connections.session_lanes import GENERAL, SHARED, is_lane

log = structlog.get_logger(__name__)
OnLaneChange = Callable[[str, bool], None]


def ignore_lane_change(lane: str, is_ours: bool) -> None:
    """Do nothing."""


# The last owner makes no calls any more: the look-ups that it had claimed are due.
RELEASE_LOOKUPS = f"""
UPDATE execution_order SET lookup_claimed_until = NULL WHERE id = ANY(ARRAY(
  SELECT o.id FROM execution_order o
  {connection_join_sql("o.connection_id")}
  WHERE o.lookup_after IS NOT NULL AND o.lookup_claimed_until IS NOT NULL
    AND c.lane = ANY(%s::text[])
  ORDER BY o.id FOR NO KEY UPDATE OF o SKIP LOCKED))
"""

# Roles are queues joined by +. A lane that a live worker names belongs to it and is not shared.
LANES_TO_SHARE = f"""
WITH alive AS (
  SELECT string_to_array(role, '+') AS queues FROM execution_workerlease
  WHERE lease_until > clock_timestamp()
)
SELECT (SELECT count(*) FROM alive WHERE '{SHARED}' = ANY(queues)) AS workers,
  ARRAY(SELECT DISTINCT c.lane FROM connections_executionconnection c
    WHERE c.lane <> '' AND starts_with(c.lane, '{SHARED}.')
      AND NOT EXISTS (SELECT FROM alive WHERE c.lane = ANY(queues)) ORDER BY 1) AS lanes
"""


@dataclass(frozen=True, slots=True)
class LaneSelection:
    """The lanes that a process may hold, given its queues."""

    general: bool
    shares: bool
    named: frozenset[str]

    @classmethod
    def of(cls, queues: Collection[str]) -> "LaneSelection":
        """Return the selection of a worker's queues.

        `sessions`: a fair share of the shared lanes. A lane's name: that lane. Other queues: the
        general lane.
        """
        named = frozenset(filter(is_lane, queues))
        return cls(bool({*queues} - named - {SHARED}), SHARED in queues, named)

    @property
    def holds_session_lanes(self) -> bool:
        """Whether it may hold any lane besides the general one."""
        return self.shares or bool(self.named)


@dataclass(slots=True)
class HeldLease:
    """The lease of a lane. until: the machine_time() after which nothing may be sent. is_releasing:
    it will be released, and no call starts in it."""

    fence: int
    until: float
    is_releasing: bool = False


def fair_share(lanes: int, workers: int) -> int:
    """Return how many of these lanes one of these workers may hold. Pure."""
    return -(-lanes // max(workers, 1))


class LaneLeaseManager:
    """The lane leases of one process. Call `renew` and `balance` about once a second."""

    def __init__(
        self,
        owner: str,
        selection: LaneSelection,
        lease_seconds: float,
        on_change: OnLaneChange = ignore_lane_change,
    ) -> None:
        """on_change: called with each lane that is taken (True) or no longer to be used (False)."""
        self.selection = selection
        self._owner, self._lease, self._on_change = owner, lease_seconds, on_change
        self._lock = threading.Lock()
        self._held: dict[str, HeldLease] = {}
        self._lost: set[str] = set()
        self._is_ending = threading.Event()
        self._general = (GENERAL,) if selection.general else ()

    # ---- permissions -----------------------------------------------------------------------
    def held(self) -> tuple[str, ...]:
        """Return the lanes in which work may start now."""
        if not self._held:
            return self._general
        now = machine_time()
        with self._lock:
            usable = [
                name
                for name, lease in self._held.items()
                if lease.until > now and not lease.is_releasing
            ]
            return (*self._general, *usable)

    def until(self, lane: str) -> float:
        """Return the machine_time() until which a request of this lane may be sent."""
        if lane == GENERAL:
            return float("inf")
        held = self._held.get(lane)
        return held.until if held else float("-inf")

    def may_begin(self, lane: str) -> bool:
        """Return whether a call may start in this lane now: it is held and not being released."""
        if lane == GENERAL:
            return True
        held = self._held.get(lane)
        return held is not None and not held.is_releasing and machine_time() <= held.until

    @property
    def names(self) -> list[str]:
        """The lanes of this process, including those being released or expired."""
        with self._lock:
            return list(self._held)

    @property
    def releasing(self) -> list[str]:
        """The lanes that are released as soon as their calls have ended."""
        with self._lock:
            return [name for name, lease in self._held.items() if lease.is_releasing]

    def pop_lost(self) -> list[str]:
        """Return the lanes lost since the last call: the caller closes their sessions."""
        with self._lock:
            lost, self._lost = sorted(self._lost - self._held.keys()), set()
            return lost

    # ---- leases ----------------------------------------------------------------------------
    def renew(self) -> None:
        """Renew all leases by one UPDATE; a lane whose row has another owner is lost."""
        with self._lock:
            fences = {name: lease.fence for name, lease in self._held.items()}
        if not fences:
            return
        began = machine_time()
        kept = renew_leases(list(fences.items()), owner=self._owner, seconds=self._lease)
        with self._lock:
            ours = {name for name, lease in self._held.items() if lease.fence == fences.get(name)}
            for name in kept & ours:
                self._held[name].until = began + self._lease
        # A lane released and taken again meanwhile is not lost: it has another fencing token.
        self._forget(sorted(ours - kept), are_lost=True)

    def balance(self) -> list[str]:
        """Take free lanes up to our share; mark lanes beyond it. Return those taken."""
        selected = set(self.selection.named)
        if self.selection.shares:
            (shares,) = periodic_rows(LANES_TO_SHARE)
            ours = sorted(name for name in self._held if name not in self.selection.named)
            maximum = fair_share(len(shares.lanes), shares.workers)
            staying = [name for name in ours if name in shares.lanes][:maximum]
            self._leave(name for name in ours if name not in staying)
            selected |= self._free(shares.lanes, maximum - len(staying))
        return self._take([name for name in sorted(selected) if name not in self._held])

    def _free(self, lanes: Iterable[str], maximum: int) -> set[str]:
        if maximum <= 0:
            return set()
        return set(free_lanes(name for name in lanes if name not in self._held)[:maximum])

    def _take(self, names: list[str]) -> list[str]:
        free = free_lanes(names) if names else []
        if not free or self._is_ending.is_set():
            return []
        began = machine_time()
        with transaction.atomic():
            taken = take_leases(free, owner=self._owner, seconds=self._lease)
            require_reconciliation_of_lanes(taken)
            run(RELEASE_LOOKUPS, (array(taken),))
        failpoint("lane.acquired")
        with self._lock:
            until, is_ending = began + self._lease, self._is_ending.is_set()
            self._held |= {
                name: HeldLease(fence, until, is_ending) for name, fence in taken.items()
            }
        if is_ending:  # `TradingRuntime.stop` releases them with the others
            return []
        for name in taken:
            log.info("lane taken", lane=name)
            self._on_change(name, True)
        return list(taken)

    def _leave(self, names: Iterable[str]) -> None:
        for name in names:
            with self._lock:
                held = self._held.get(name)
                if held is None or held.is_releasing:
                    continue
                held.is_releasing = True
            log.info("lane will be released", lane=name)
            self._on_change(name, False)

    def release_all(self) -> None:
        """Start nothing new in any lane, and take no more lanes: this process is ending."""
        with self._lock:
            self._is_ending.set()
        self._leave(list(self._held))

    def release(self, names: Collection[str]) -> None:
        """End the leases of lanes whose calls have ended and whose sessions are closed."""
        with self._lock:
            fences = [(name, self._held[name].fence) for name in names if name in self._held]
        self._forget([name for name, _ in fences], are_lost=False)  # first: nothing is sent now
        if fences:
            release_leases(fences, owner=self._owner)

    def _forget(self, names: Iterable[str], *, are_lost: bool) -> None:
        for name in names:
            with self._lock:
                if (held := self._held.pop(name, None)) is None:
                    continue
                if are_lost:
                    self._lost.add(name)
            if are_lost:
                log.error("lane lost; closing its sessions", lane=name)
            if not held.is_releasing:
                self._on_change(name, False)
