"""Counts of dropped messages and reports, which operators see. Nothing waits for these messages, so
without the counts a loss would not be noticed."""

import secrets
from collections.abc import Sequence
from typing import NamedTuple

import structlog
from django.db import DatabaseError, InterfaceError, transaction

from brokers.unreadable_rows import UNREADABLE_ROWS
from common.db.sql import Query, periodic_run, rows, run
from execution.models import DroppedMessageCount

log = structlog.get_logger(__name__)

MANY = 100

COUNT = "INSERT INTO execution_droppedmessagecount (name, count, sample) VALUES (%s, %s, %s)"

# One statement: a reader that adds up sees either the many rows or the one. Rows that another
# process aggregates now are left to it, and rows of an open transaction to the next call.
AGGREGATE = """
WITH removed AS (
  DELETE FROM execution_droppedmessagecount WHERE id = ANY(ARRAY(
    SELECT id FROM execution_droppedmessagecount
    WHERE (SELECT count(*) FROM execution_droppedmessagecount) > %s
    ORDER BY id LIMIT 10000 FOR UPDATE SKIP LOCKED))
  RETURNING id, name, count, sample, sampled_at
)
INSERT INTO execution_droppedmessagecount (name, count, sample, sampled_at)
SELECT name, sum(count), (array_agg(sample ORDER BY sampled_at DESC, id DESC))[1], max(sampled_at)
FROM removed GROUP BY name
"""


class UnknownId(NamedTuple):
    """An order id from a message, without an order that could be processed."""

    id: int
    has_ended: bool


UNKNOWN_IDS = Query(
    UnknownId,
    """
SELECT i.id, o.id IS NOT NULL OR a.id IS NOT NULL AS has_ended FROM unnest(%s::bigint[]) AS i(id)
LEFT JOIN execution_order o ON o.id = i.id
LEFT JOIN execution_archivedorder a ON a.id = i.id
WHERE o.id IS NULL OR o.done_at IS NOT NULL
""",
)


def new_reference() -> str:
    """Return a short id that links a traceback in the log to its row; people can read it aloud."""
    return secrets.token_hex(4)


def record_dropped(name: DroppedMessageCount.Name, sample: str, times: int = 1) -> None:
    """Count something that was dropped. sample: its text, of which 200 characters are kept.

    The count is part of the current transaction: after a rollback nothing was dropped. Each call
    inserts a row, so that no other process waits for this transaction to end.
    """
    text = sample.replace("\x00", "")[:200]
    log.warning("dropped", what=name.value, sample=text, count=times)
    run(COUNT, (name.value, times, text))


def record_unreadable_rows() -> None:
    """Count the rows of brokers' lists that this process could not read, each once."""
    if not (found := UNREADABLE_ROWS.take()):
        return
    try:
        with transaction.atomic():
            for row in found:
                record_dropped(DroppedMessageCount.Name.UNREADABLE_ROW, row.sentence)
    except (DatabaseError, InterfaceError):
        UNREADABLE_ROWS.put_back(found)
        raise


def record_lost_spans(count: int) -> None:
    """Count spans that a process could not send to the collector of traces. It logs that itself."""
    run(COUNT, (DroppedMessageCount.Name.LOST_SPAN.value, count, ""))


def aggregate() -> None:
    """Merge the rows of each name into one if there are more than a hundred rows."""
    periodic_run(AGGREGATE, (MANY,))


def record_unknown_ids(order_ids: Sequence[int]) -> None:
    """Count the order ids of a message that need no work: the order does not exist or has ended.

    Not each of them is an error: a poll may have processed the order before its message.
    """
    unknown = rows(UNKNOWN_IDS, (list(order_ids),))
    for name, ended in (
        (DroppedMessageCount.Name.UNKNOWN_IDS, False),
        (DroppedMessageCount.Name.ENDED, True),
    ):
        if ids := [row.id for row in unknown if row.has_ended is ended]:
            record_dropped(name, f"orders {', '.join(map(str, ids[:10]))}", len(ids))
