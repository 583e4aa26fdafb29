"""Entries that a process had in hand when it died are executed apart: one may have ended it.

An entry that ends each process that sends it fails after its third (`reports/transitions.py`), and
so would all that were in hand with it each time. So they are executed in small groups after the
first death and one by one after the second, each after the calls of the last have ended. Exits are
not: they never fail for that, and none waits for another one.

Deaths are counted in the log: an order's reason is overwritten when it waits for something, as an
entry for a session does until its account was compared.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from common.clocks import machine_time
from common.db.sql import Query, array, periodic_rows, run
from common.reason_codes import Code
from execution.dispatch.order_dispatcher import OrderDispatcher

GROUP = 16  # about the root of a bundle
CALL_SECONDS = 2.0  # a group's calls may take so long; then the next one begins
MOST_SECONDS = 5.0  # for all groups of a poll: new entries wait meanwhile
LEFT_SECONDS = 1.0  # until what was left is due again


class SuspectRow(NamedTuple):
    """An entry that processes had in hand, unsent, when they died. deaths: how many."""

    id: int
    deaths: int


SUSPECTS = Query(
    SuspectRow,
    f"""
SELECT o.id, l.deaths FROM execution_order o
CROSS JOIN LATERAL (SELECT count(*) AS deaths FROM execution_executionlog
  WHERE order_id = o.id AND code = '{Code.WORKER_LOST_UNSENT.value}') l
WHERE o.id = ANY(%s::bigint[]) AND o.position_id IS NULL AND o.send_retries > 0 AND l.deaths > 0
ORDER BY l.deaths, o.priority, o.id
""",
)
LEAVE = """
UPDATE execution_order SET due_at = clock_timestamp() + make_interval(secs => %s)
WHERE id = ANY(ARRAY(SELECT id FROM execution_order WHERE id = ANY(%s::bigint[])
  AND status = 'PENDING' ORDER BY id FOR NO KEY UPDATE SKIP LOCKED))
"""


def parts(order_ids: Sequence[int], dispatcher: OrderDispatcher) -> Iterator[list[int]]:
    """Yield what is to be executed together: first all without suspects, then these in groups.

    After a group it waits until its calls have ended. What the time is too short for is due again a
    second later, so that it does not come before the entries that follow.
    """
    suspects = periodic_rows(SUSPECTS, (array(order_ids),))
    apart = {row.id for row in suspects}
    if together := [order_id for order_id in order_ids if order_id not in apart]:
        yield together
    until = machine_time() + MOST_SECONDS
    while suspects and machine_time() < until:
        size = GROUP if suspects[0].deaths <= 1 else 1
        group = [row.id for row in suspects[:size] if row.deaths <= 1 or size == 1]
        suspects = suspects[len(group) :]
        yield group
        dispatcher.wait_ended(group, CALL_SECONDS)
    if suspects:
        run(LEAVE, (LEFT_SECONDS, array(row.id for row in suspects)))
