"""What is dropped is counted where operators see it: what nobody waits for would be missed else."""

import secrets
from collections.abc import Sequence

import structlog

from common.sql import rows, run
from execution.models import DroppedMessageCount

log = structlog.get_logger(__name__)

MANY = 100

COUNT = "INSERT INTO execution_droppedmessagecount (name, count, sample) VALUES (%s, %s, %s)"

# One statement: whoever sums sees the many rows or the one. Rows that another process adds up just
# now are left to it, those of an open transaction to the next time.
AGGREGATE = """
WITH gone AS (
  DELETE FROM execution_droppedmessagecount WHERE id = ANY(ARRAY(
    SELECT id FROM execution_droppedmessagecount
    WHERE (SELECT count(*) FROM execution_droppedmessagecount) > %s
    ORDER BY id LIMIT 10000 FOR UPDATE SKIP LOCKED))
  RETURNING id, name, count, sample, sampled_at
)
INSERT INTO execution_droppedmessagecount (name, count, sample, sampled_at)
SELECT name, sum(count), (array_agg(sample ORDER BY sampled_at DESC, id DESC))[1], max(sampled_at)
FROM gone GROUP BY name
"""

UNKNOWN_IDS = """
SELECT i.id, o.id IS NOT NULL AS has_ended FROM unnest(%s::bigint[]) AS i(id)
LEFT JOIN execution_order o ON o.id = i.id
WHERE o.id IS NULL OR o.done_at IS NOT NULL
"""


def new_reference() -> str:
    """What joins a traceback in the log to the row that it is about; people read it out."""
    return secrets.token_hex(4)


def record_dropped(name: DroppedMessageCount.Name, sample: str, times: int = 1) -> None:
    """Count something that was dropped; sample: what it was, 200 characters of it are kept.

    Part of the present transaction: what is rolled back with it was not dropped yet. A row of its
    own, so that nobody who counts the same waits for that transaction to end.
    """
    text = sample.replace("\x00", "")[:200]
    log.warning("dropped", what=name.value, sample=text, count=times)
    run(COUNT, (name.value, times, text))


def aggregate() -> None:
    """Make one row of the many of each name, once there are more than a hundred."""
    run(AGGREGATE, (MANY,))


def record_unknown_ids(order_ids: Sequence[int]) -> None:
    """Count the orders of a message for which there is nothing to do: not there, or ended.

    Not every one is a fault: who looks by itself may have been faster than the message.
    """
    found = rows(UNKNOWN_IDS, (list(order_ids),))
    for name, ended in (
        (DroppedMessageCount.Name.UNKNOWN_IDS, False),
        (DroppedMessageCount.Name.ENDED, True),
    ):
        if ids := [row.id for row in found if row.has_ended is ended]:
            record_dropped(name, f"orders {', '.join(map(str, ids[:10]))}", len(ids))
