"""Comparisons that somebody wants. The row is the job: a trading process finds it within seconds,
bell or not."""

from collections.abc import Sequence
from uuid import UUID

from common.sql import array, run

ASK_FOR = """
INSERT INTO execution_accountreading (connection_id, compare_asked_at)
SELECT c.id, clock_timestamp() FROM connections_executionconnection c
WHERE c.archived_at IS NULL AND (%(ids)s::uuid[] IS NULL OR c.id = ANY(%(ids)s::uuid[]))
ORDER BY c.id
ON CONFLICT (connection_id) DO UPDATE SET compare_asked_at = EXCLUDED.compare_asked_at
"""


def ask_for(connection_ids: Sequence[UUID] | None = None) -> int:
    """Have connections compared soon, all of them for None; return how many."""
    ids = None if connection_ids is None else array(connection_ids)
    return run(ASK_FOR, {"ids": ids})
