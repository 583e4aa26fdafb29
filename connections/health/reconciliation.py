"""Whether an account may trade again: `reconciled_at` is when it was last compared with its broker.

Without it the account gets no entry, and in a recovery epoch no exit either.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from common.db.sql import Query, array, rows, run


class ReconciledConnection(NamedTuple):
    """A connection that may trade again."""

    connection_id: UUID


# A read counts only if it began after the connection's last error, last test and activation, after
# its lane was acquired, and in a recovery epoch after `answer_by`. An order whose answer was lost
# since then does not matter: it is looked up, as on any account that trades.
MARK_RECONCILED = Query(
    ReconciledConnection,
    """
UPDATE connections_connectionhealth SET reconciled_at = clock_timestamp()
WHERE connection_id = ANY(%(connections)s) AND reconciled_at IS NULL
  AND coalesce(greatest(errored_at, last_tested_at, monitored_since), '-infinity') < %(began)s
  AND connection_id NOT IN (
    SELECT c.id FROM connections_lanelease l JOIN connections_executionconnection c USING (lane)
    WHERE l.acquired_at > %(began)s AND c.lane <> '')
  AND NOT EXISTS (
    SELECT FROM connections_epoch WHERE released_at IS NULL AND answer_by > %(began)s)
RETURNING connection_id
""",
)

RESET_ALL = """
UPDATE connections_connectionhealth SET reconciled_at = NULL WHERE reconciled_at IS NOT NULL
"""

# A host that did not answer the last owner may answer this one, on another machine: no back-off.
RESET_OF_LANES = """
UPDATE connections_connectionhealth SET reconciled_at = NULL,
  circuit_open_until = CASE WHEN unreachable_at IS NULL THEN circuit_open_until END
WHERE connection_id IN (
  SELECT h.connection_id FROM connections_connectionhealth h
  JOIN connections_executionconnection c ON c.id = h.connection_id
  WHERE c.lane = ANY(%s::text[]) AND (h.reconciled_at IS NOT NULL
    OR h.circuit_open_until IS NOT NULL AND h.unreachable_at IS NOT NULL)
  ORDER BY h.connection_id FOR NO KEY UPDATE OF h)
"""


def mark_reconciled(connection_ids: Sequence[UUID], began: datetime) -> list[UUID]:
    """Store that these connections were compared without error; return those that waited for it.

    began: when the comparison began.
    """
    marked = rows(MARK_RECONCILED, {"connections": list(connection_ids), "began": began})
    return [row.connection_id for row in marked]


def require_reconciliation() -> int:
    """Have every connection compared with its broker before it trades; return how many."""
    return run(RESET_ALL)


def require_reconciliation_of_lanes(lanes: Iterable[str]) -> None:
    """Have the accounts of lanes compared before they trade, and called again without back-off."""
    run(RESET_OF_LANES, (array(lanes),))
