"""What is left after `kill -9` of all workers, several times within one signal.

The broker answers after a tenth of a second, as a real one does, so that workers are killed while
they wait. Its books say how often each account was filled. The product's own workers are killed the
same way, at the same shares of filled orders.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from benchmarks.data import BenchData
from benchmarks.environment import EXECUTION, BenchEnvironment, report_progress
from benchmarks.peers.settings import QUEUE
from benchmarks.programs import Program
from signals.models import Signal

OTHER_WORKERS = ("exits", "sessions", "maintenance")  # besides those for entries
SHARES = (0.2, 0.4, 0.6, 0.8)
REPLY_MS = 100
REPLIES = "UPDATE paper_account SET reply_delay_ms = %s"
QUIET_SECONDS = 5.0  # without another filled order and with an empty queue: the rest is lost
MOST_SECONDS = 240.0
DONE_SECONDS = 2.0  # afterwards: tasks that were delivered twice still run
IN_FLIGHT = "SELECT count(*) FROM execution_order WHERE signal_id = %s AND status = 'SUBMITTING'"
JOBS = """
SELECT count(*) FROM procrastinate.procrastinate_jobs
WHERE status IN ('todo', 'doing') AND task_name = 'fill_one'
"""
LAST_TICKET = "SELECT coalesce(max(id), 0) FROM paper_order"
LEFT = """
WITH sent AS (
  SELECT connection_id, count(*) AS times FROM paper_order
  WHERE id > %(after)s AND status = 'FILLED' GROUP BY connection_id
), ours AS (
  SELECT connection_id::text, status, reason FROM execution_order WHERE signal_id = %(signal)s
)
SELECT count(*) FILTER (WHERE s.times = 1) AS filled_once,
  count(*) FILTER (WHERE s.times > 1) AS filled_twice,
  count(*) FILTER (WHERE s.times IS NULL) AS not_filled,
  count(*) FILTER (WHERE s.times > 0 AND o.status IS DISTINCT FROM 'FILLED') AS fill_not_recorded,
  coalesce(string_agg(DISTINCT concat_ws(' ', coalesce(o.status, 'no order'), nullif(o.reason, '')),
    ', ') FILTER (WHERE s.times IS NULL OR o.status IS DISTINCT FROM 'FILLED'), '') AS states
FROM unnest(%(accounts)s::text[]) AS c (id)
LEFT JOIN sent s ON s.connection_id = c.id LEFT JOIN ours o ON o.connection_id = c.id
"""
FILLED = "SELECT count(*) FROM execution_order WHERE signal_id = %s AND status = 'FILLED'"
ORDERS = "SELECT count(*) FROM execution_order WHERE signal_id = %s"


@dataclass(slots=True)
class Side:
    """Where a side of the comparison runs, and who publishes to it."""

    environment: BenchEnvironment
    data: BenchData
    publisher: Program

    def publish(self, count: int) -> tuple[Signal, list[UUID]]:
        signal, accounts = self.data.signal(self.data.feed(count)), self.data.connections(count)
        self.publisher.write([signal.pk, [*map(str, accounts)]])
        return signal, accounts

    def filled(self, signal: Signal) -> int:
        return int(self.environment.sql(FILLED, signal.pk)[0][0])

    def run(self, count: int, every: float = 0.02) -> Signal:
        signal, _ = self.publish(count)
        self.environment.wait(
            lambda: self.filled(signal) == count, seconds=MOST_SECONDS, every=every
        )
        self.publisher.read()
        return signal


Pending = Callable[[Side, Any], int]


def _of_dramatiq(side: Side, _: Any) -> int:
    names = (f"dramatiq:{QUEUE}.msgs", f"dramatiq:{QUEUE}.DQ.msgs")  # the second: to be retried
    return sum(int(side.environment.redis.hlen(name)) for name in names)


def _of_fillcast(side: Side, published: Any) -> int:
    is_committed = side.environment.sql(ORDERS, published.pk) != [(0,)]
    return int(not is_committed or not side.environment.nothing_open())


PENDING: Mapping[str, Pending] = {
    "celery": lambda side, _: side.environment.waiting(QUEUE), "dramatiq": _of_dramatiq,
    "procrastinate": lambda side, _: side.environment.sql(JOBS)[0][0], "fillcast": _of_fillcast,
}  # fmt: skip
"""Tasks that are queued or being executed; of Fillcast, whether any order is open."""


def measure(
    side: Side, count: int, restart: Callable[[], None], pending: Pending
) -> dict[str, Any]:
    """Publish to `count` accounts, kill the workers at each share; return what is left."""
    side.environment.sql(REPLIES, REPLY_MS)
    try:
        left = _kill(side, count, restart, pending)
    finally:
        side.environment.sql(REPLIES, 0)
    report_progress(f"    kill -9: {left}")
    return left


def _kill(side: Side, count: int, restart: Callable[[], None], pending: Pending) -> dict[str, Any]:
    environment = side.environment
    ((after,),) = environment.sql(LAST_TICKET)
    published, accounts = side.publish(count)
    in_flight, began = [], 0.0
    for share in SHARES:
        _await_share(side, published, count, share, pending)
        began = began or time.monotonic()
        ((sending,),) = environment.sql(IN_FLIGHT, published.pk)
        restart()
        in_flight.append(int(sending))
    side.publisher.read()
    settled = _wait(side, published, count, pending, began)
    time.sleep(DONE_SECONDS)
    left = _left(environment, after, published.pk, accounts)
    return {"n": count, **left, "still_queued": pending(side, published), "in_flight": in_flight,
            "from_first_kill_s": settled}  # fmt: skip


def _await_share(side: Side, published: Any, count: int, share: float, pending: Pending) -> None:
    def is_reached() -> bool:
        filled = side.filled(published)
        return filled >= share * count or (filled > 0 and not pending(side, published))

    side.environment.wait(is_reached, seconds=MOST_SECONDS, every=0.002)


def _wait(side: Side, published: Any, count: int, pending: Pending, began: float) -> float:
    """Wait until all is filled, or nothing is left to do; return when the last was filled."""
    filled, changed = -1, began
    while filled < count and time.monotonic() - began < MOST_SECONDS:
        if (now_filled := side.filled(published)) != filled:
            filled, changed = now_filled, time.monotonic()
        elif time.monotonic() - changed > QUIET_SECONDS and not pending(side, published):
            break
        time.sleep(0.05)
    return changed - began


def _left(
    environment: BenchEnvironment, after: int, signal_id: int, accounts: list[UUID]
) -> dict[str, Any]:
    given = {"after": after, "signal": signal_id, "accounts": list(map(str, accounts))}
    names = ("filled_once", "filled_twice", "not_filled", "fill_not_recorded", "states")
    return dict(zip(names, environment.sql(LEFT, given)[0], strict=True))


def kill_workers(environment: BenchEnvironment) -> None:
    """kill -9 of all of Fillcast's workers; the supervisor starts them again."""
    for name, pids in environment.pids().items():
        if name.startswith(EXECUTION) or name in OTHER_WORKERS:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
