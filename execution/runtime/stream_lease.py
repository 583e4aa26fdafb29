"""The lease of a shared event stream: one process at a time applies its events.

Every process can read the same events. If all applied them at once, they would wait for each
other's locks, time out and bisect: on a busy machine one batch of 500 took 51 s, and comparisons
that waited for it did not run. So one process holds the stream's lease while it drains, and the
others rely on a drain that began after their own request.

The lease expires after `LEASE_SECONDS` without another page, so a process that hangs or has died
does not block the others. Two processes that drain at once are slow but correct. All times are
machine time.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum, auto
from typing import NamedTuple
from uuid import uuid4

from common.clocks import machine_time
from common.db.sql import Query, database_now, periodic_run, rows, run

LEASE_SECONDS = 15
FIRST_POLL_SECONDS, MAX_POLL_SECONDS = 0.02, 0.32


class LeaseWait(Enum):
    """How a wait for the lease has ended."""

    TAKEN = auto()
    DRAINED = auto()  # by another process, meanwhile
    TIMED_OUT = auto()


class LeaseState(NamedTuple):
    """Whether a stream's lease is held, and whether it was drained since a time."""

    is_held: bool
    is_drained: bool


STATE = Query(
    LeaseState,
    """
SELECT lease_until >= clock_timestamp() AS is_held, coalesce(drained_at >= %s, false) AS is_drained
FROM execution_streamlease WHERE broker_type = %s
""",
)
TAKE = f"""
INSERT INTO execution_streamlease AS l (broker_type, holder, lease_until, began_at)
VALUES (%(broker_type)s, %(holder)s, clock_timestamp() + interval '{LEASE_SECONDS} seconds',
  clock_timestamp())
ON CONFLICT (broker_type) DO UPDATE SET holder = excluded.holder,
  lease_until = excluded.lease_until,
  began_at = excluded.began_at
WHERE l.lease_until < clock_timestamp()
"""
RENEW = f"""
UPDATE execution_streamlease
SET lease_until = clock_timestamp() + interval '{LEASE_SECONDS} seconds'
WHERE broker_type = %(broker_type)s AND holder = %(holder)s
"""
END = """
UPDATE execution_streamlease SET lease_until = '-infinity',
  drained_at = CASE WHEN %(is_drained)s THEN greatest(drained_at, began_at) ELSE drained_at END
WHERE broker_type = %(broker_type)s AND holder = %(holder)s
"""


def drain_once(
    broker_type: str, drain: Callable[[Callable[[], bool]], int], max_wait: float
) -> int | None:
    """Drain the stream of a broker type in this process, unless another begins to after this call.

    drain: applies events and returns how many; its argument renews the lease, and returns False
    once another process has taken it. max_wait: seconds to wait for another process. Returns how
    many reports were applied here, None if no process has drained in time. Raises what `drain`
    raises.
    """
    named = {"broker_type": broker_type, "holder": uuid4().hex}
    if periodic_run(TAKE, named) != 1:  # mostly it is free
        waited = _wait_for_lease(named, database_now(), max_wait)
        if waited is not LeaseWait.TAKEN:
            return 0 if waited is LeaseWait.DRAINED else None
    is_drained = False
    try:
        applied = drain(lambda: run(RENEW, named) == 1)
        is_drained = True
    finally:
        periodic_run(END, {**named, "is_drained": is_drained})
    return applied


def _wait_for_lease(named: Mapping[str, str], called_at: datetime, max_wait: float) -> LeaseWait:
    """Take the lease once it is free, unless another process has drained since `called_at`."""
    deadline, pause = machine_time() + max_wait, FIRST_POLL_SECONDS
    while not _take(named, state := rows(STATE, (called_at, named["broker_type"]))):
        if state and state[0].is_drained:
            return LeaseWait.DRAINED
        if machine_time() >= deadline:
            return LeaseWait.TIMED_OUT
        threading.Event().wait(pause)
        pause = min(2 * pause, MAX_POLL_SECONDS)
    return LeaseWait.TAKEN


def _take(named: Mapping[str, str], state: Sequence[LeaseState]) -> bool:
    """Take the lease if it is free and no other process has drained meanwhile."""
    is_free = not state or not (state[0].is_held or state[0].is_drained)
    return is_free and run(TAKE, named) == 1
