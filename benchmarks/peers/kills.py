"""What is left after `kill -9` of all workers, several times within one signal.

The broker answers after a tenth of a second, as a real one does, so that workers are killed while
they wait. Its books say how often each account was filled. The product's own workers are killed the
same way, at the same shares of filled orders.
"""

import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from benchmarks.environment import EXECUTION, BenchEnvironment, report_progress

if TYPE_CHECKING:
    from benchmarks.peers.queue_runs import Side

SHARES = (0.2, 0.4, 0.6, 0.8)
REPLY_MS = 100
REPLIES = "UPDATE paper_account SET reply_delay_ms = %s"
QUIET_SECONDS = 45.0  # without another filled order: what is missing now is lost
MOST_SECONDS = 150.0
DONE_SECONDS = 2.0  # afterwards: tasks that were delivered twice still run
IN_FLIGHT = "SELECT count(*) FROM execution_order WHERE signal_id = %s AND status = 'SUBMITTING'"
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
Ended = Callable[["Side", Any, int], bool]


def FILLED_ALL(side: "Side", published: Any, count: int) -> bool:
    """Every account's order is filled: a queue does not know more."""
    return side.filled(published) == count


def NOTHING_OPEN(side: "Side", published: Any, count: int) -> bool:
    """Every order has ended: filled, or known not to be."""
    return side.orders(published) == count and side.environment.nothing_open()


def measure(side: "Side", count: int, restart: Callable[[], None], ended: Ended) -> dict[str, Any]:
    """Publish to `count` accounts, kill the workers at each share; return what is left."""
    side.environment.sql(REPLIES, REPLY_MS)
    try:
        left = _kill(side, count, restart, ended)
    finally:
        side.environment.sql(REPLIES, 0)
    report_progress(f"    kill -9: {left}")
    return left


def _kill(side: "Side", count: int, restart: Callable[[], None], ended: Ended) -> dict[str, Any]:
    environment = side.environment
    ((after,),) = environment.sql(LAST_TICKET)
    published, accounts = side.publish(count)
    in_flight, began = [], 0.0
    for share in SHARES:
        _await_share(side, published, count, share, ended)
        began = began or time.monotonic()
        ((sending,),) = environment.sql(IN_FLIGHT, published.pk)
        restart()
        in_flight.append(int(sending))
    side.publisher.end()
    settled = _wait(side, published, count, ended, began)
    time.sleep(DONE_SECONDS)
    left = _left(environment, after, published.pk, accounts)
    return {"n": count, **left, "in_flight": in_flight, "from_first_kill_s": settled}


def _await_share(side: "Side", published: Any, count: int, share: float, ended: Ended) -> None:
    """Wait until this share of the orders is filled, or all have ended."""
    side.environment.wait(
        lambda: side.filled(published) >= share * count or ended(side, published, count),
        every=0.002,
    )


def _wait(side: "Side", published: Any, count: int, ended: Ended, began: float) -> float:
    """Wait until all has ended, or until nothing changes any more; return the last change."""
    filled, changed = -1, began
    while not ended(side, published, count):
        now, known = time.monotonic(), side.filled(published)
        if known != filled:
            filled, changed = known, now
        is_stuck = ended is FILLED_ALL and now - changed > QUIET_SECONDS
        if is_stuck or now - began > MOST_SECONDS:
            return changed - began
        time.sleep(0.05)
    return time.monotonic() - began


def _left(
    environment: BenchEnvironment, after: int, signal_id: int, accounts: list[UUID]
) -> dict[str, Any]:
    given = {"after": after, "signal": signal_id, "accounts": list(map(str, accounts))}
    ((once, twice, missing, unrecorded, states),) = environment.sql(LEFT, given)
    return {
        "filled_once": once, "filled_twice": twice, "not_filled": missing,
        "fill_not_recorded": unrecorded, "states": states,
    }  # fmt: skip


def kill_entries(environment: BenchEnvironment) -> None:
    """kill -9 of Fillcast's workers for entries; the supervisor starts them again."""
    for name, pids in environment.pids().items():
        if name.startswith(EXECUTION):
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
