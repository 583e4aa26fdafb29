"""Comparisons that somebody wants. The row is the job: a trading process finds it within seconds,
bell or not. `reconcile_requested_at` is from when on one is wanted."""

from collections.abc import Sequence
from uuid import UUID

from common.sql import array, run

REQUEST = """
INSERT INTO execution_accountsyncstate (connection_id, reconcile_requested_at)
SELECT c.id, clock_timestamp() + make_interval(secs => %(seconds)s)
FROM connections_executionconnection c
WHERE c.archived_at IS NULL AND (%(ids)s::uuid[] IS NULL OR c.id = ANY(%(ids)s::uuid[]))
ORDER BY c.id
ON CONFLICT (connection_id) DO UPDATE SET reconcile_requested_at = EXCLUDED.reconcile_requested_at
"""


def request_reconciliation(
    connection_ids: Sequence[UUID] | None = None, *, in_seconds: float = 0
) -> int:
    """Have connections compared soon, all of them for None; return how many. in_seconds: nothing
    can be learned before."""
    ids = None if connection_ids is None else array(connection_ids)
    return run(REQUEST, {"ids": ids, "seconds": in_seconds})
