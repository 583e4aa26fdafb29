"""Requests to reconcile an account. The row is the job: a trading process finds it within seconds,
with or without a Celery message. `reconcile_requested_at` states when it is due."""

from collections.abc import Sequence
from uuid import UUID

from common.db.sql import array, run

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
    """Request that connections (None: all of them) are reconciled; return how many there are.

    in_seconds: how long to wait because an earlier read would not show the change.
    """
    ids = None if connection_ids is None else array(connection_ids)
    return run(REQUEST, {"ids": ids, "seconds": in_seconds})
