"""What is dropped is counted where operators see it: what nobody waits for would be missed else."""

import secrets
from collections.abc import Sequence

import structlog

from common.sql import rows, run
from execution.models import Tally

log = structlog.get_logger(__name__)

COUNT = """
INSERT INTO execution_tally AS t (name, n, last) VALUES (%s, %s, %s)
ON CONFLICT (name) DO UPDATE SET n = t.n + EXCLUDED.n, last = EXCLUDED.last,
  last_at = clock_timestamp()
"""

STRANGERS = """
SELECT i.id, o.id IS NOT NULL AS has_ended FROM unnest(%s::bigint[]) AS i(id)
LEFT JOIN execution_order o ON o.id = i.id
WHERE o.id IS NULL OR o.done_at IS NOT NULL
"""


def new_reference() -> str:
    """What joins a traceback in the log to the row that it is about; people read it out."""
    return secrets.token_hex(4)


def count(name: Tally.Name, last: str, n: int = 1) -> None:
    """Count something that was dropped; last: what it was, 200 characters of it are kept."""
    text = last.replace("\x00", "")[:200]
    log.warning("dropped", what=name.value, last=text, n=n)
    run(COUNT, (name.value, n, text))


def count_strangers(order_ids: Sequence[int]) -> None:
    """Count the orders of a message for which there is nothing to do: not there, or ended.

    Not every one is a fault: who looks by itself may have been faster than the message.
    """
    found = rows(STRANGERS, (list(order_ids),))
    for name, ended in ((Tally.Name.UNKNOWN_IDS, False), (Tally.Name.ENDED, True)):
        if ids := [row.id for row in found if row.has_ended is ended]:
            count(name, f"orders {', '.join(map(str, ids[:10]))}", len(ids))
