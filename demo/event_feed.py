"""Reads events from the outbox and groups similar ones, so that each group becomes one line."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from common.clocks import machine_time
from common.db.sql import rows

POLL_SECONDS = 0.25
QUIET_SECONDS = 0.4  # a group is complete if no event joined it for so long,
LONGEST_SECONDS = 1.5  # or when it is this old; later events start another one
REMEMBERED_SECONDS = 5.0  # a transaction may commit after one with a higher event id

NEW = """
SELECT e.id, e.kind, e.signal_id, e.order_id, e.connection_id, e.payload, e.created_at,
  o.leg, o.reason, o.order_type, o.slippage_pips, o.slippage_unit, o.position_id,
  extract(epoch FROM o.filled_at - o.created_at) * 1000 AS ms,
  (SELECT min(f.time) FROM execution_fill f WHERE f.order_id = o.id) AS filled_at,
  coalesce(p.quantity, 0) > 0 AS is_open, c.name AS connection, u.username
FROM events_event e
LEFT JOIN execution_order o ON o.id = e.order_id
LEFT JOIN positions_executionposition p ON p.id = o.position_id
LEFT JOIN connections_executionconnection c ON c.id = e.connection_id
LEFT JOIN users_user u ON u.id = coalesce(c.user_id, c.admin_id)
WHERE e.id > %s AND e.id NOT IN (SELECT unnest(%s::bigint[])) ORDER BY e.id LIMIT 10000
"""


@dataclass(slots=True)
class Group:
    """Similar events: of the same kind, signal and detail (a leg or a reason)."""

    kind: str
    signal_id: int | None
    detail: str
    events: list[Any] = field(default_factory=list)
    began: float = field(default_factory=machine_time)
    grew: float = field(default_factory=machine_time)

    def add(self, event: Any) -> None:
        self.events.append(event)
        self.grew = machine_time()

    def is_done(self, now: float) -> bool:
        """Whether it is complete at machine time `now`."""
        return now - self.grew >= QUIET_SECONDS or now - self.began >= LONGEST_SECONDS


class EventReader:
    """Reads the outbox in groups of similar events."""

    def __init__(self, *, separate: bool = False) -> None:
        """separate: each event is its own group."""
        self._separate = separate
        self._low = 0
        self._seen: dict[int, float] = {}
        self._groups: dict[tuple[Any, ...], Group] = {}
        self._polled_at = float("-inf")

    def poll(self, *, flush: bool = False) -> Sequence[Group]:
        """Read new events and return the complete groups, oldest first. flush: all groups."""
        now = machine_time()
        if now - self._polled_at < POLL_SECONDS and not flush:
            return []
        self._polled_at = now
        for event in rows(NEW, (self._low, list(self._seen))):
            self._seen[event.id] = now
            key = self._key(event)
            self._groups.setdefault(key, Group(event.kind, event.signal_id, key[2])).add(event)
        if old := [id_ for id_, at in self._seen.items() if now - at > REMEMBERED_SECONDS]:
            self._low = max(self._low, *old)
            self._seen = {id_: at for id_, at in self._seen.items() if id_ > self._low}
        done = [key for key, group in self._groups.items() if flush or group.is_done(now)]
        return [self._groups.pop(key) for key in done]

    def _key(self, event: Any) -> tuple[Any, ...]:
        detail = detail_of(event)
        return event.kind, event.signal_id, detail, event.id if self._separate else 0


def detail_of(event: Any) -> str:
    """Return what distinguishes events of one kind: of a fill what closed or opened, of a refusal
    the reason."""
    if event.kind in ("order.filled", "order.partially_filled"):
        leg = (event.leg or "").partition("+")[0]  # tp-2+2 is the second order of one request
        # tp-2.2 is of the second request for target 2
        return leg.partition(".")[0] if leg.startswith("tp") else leg.partition("-")[0]
    if event.kind == "position.closed":
        return str(event.payload.get("reason", ""))
    if event.kind == "connection.error":
        return str(event.payload.get("message", ""))
    return str(event.payload.get("code", "") or event.reason or "")
