"""Entries that a process had in hand when it died are executed apart: one may have ended it.

An entry that ends each process that sends it fails after its third (`reports/transitions.py`), and
so would all that were in hand with it each time. So they are executed in small groups after the
first death and one by one after the second, each after the calls of the last have ended. Exits are
not: they never fail for that, and none waits for another one.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from common.clocks import machine_time
from common.reason_codes import Code
from common.sql import Query, array, periodic_rows
from execution.dispatch.order_dispatcher import OrderDispatcher

GROUP = 16  # about the root of a bundle
CALL_SECONDS = 2.0  # a group's calls may take so long; then the next one begins
MOST_SECONDS = 5.0  # for all groups of a poll: new entries wait meanwhile


class SuspectRow(NamedTuple):
    """An entry whose last process died before it sent it. send_retries: tries that failed."""

    id: int
    send_retries: int


SUSPECTS = Query(
    SuspectRow,
    f"""
SELECT id, send_retries FROM execution_order
WHERE id = ANY(%s::bigint[]) AND position_id IS NULL
  AND reason = '{Code.WORKER_LOST_UNSENT.value}'
ORDER BY send_retries, priority, id
""",
)


def parts(order_ids: Sequence[int], dispatcher: OrderDispatcher) -> Iterator[list[int]]:
    """Yield what is to be executed together: first all without suspects, then these in groups.

    After a group it waits until its calls have ended. What the time is too short for is left to the
    next poll.
    """
    suspects = periodic_rows(SUSPECTS, (array(order_ids),))
    apart = {row.id for row in suspects}
    if together := [order_id for order_id in order_ids if order_id not in apart]:
        yield together
    until = machine_time() + MOST_SECONDS
    while suspects and machine_time() < until:
        size = GROUP if suspects[0].send_retries <= 1 else 1
        group = [row.id for row in suspects[:size] if row.send_retries <= 1 or size == 1]
        suspects = suspects[len(group) :]
        yield group
        dispatcher.wait_ended(group, CALL_SECONDS)
