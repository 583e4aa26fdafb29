"""Resolve the differences that a comparison checked and no longer found.

A comparison checks positions, working orders and our own rows. A report about an order without a
row of ours is resolved only if it contained no execution: then the order is not working at the
broker, which is all it stated. A snapshot cannot show an execution without an order row, two live
attempts, a report that could not be stored, or an overfilled exit. Those stay open until a person
decides.
"""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from common.db.sql import array, columns, periodic_run
from common.reason_codes import Code
from execution.reconciliation.compare_positions import POSITION_CODES

COMPARED = (
    *POSITION_CODES,
    Code.UNKNOWN_ORDER,
    Code.ORDER_MISSING,
    Code.ORDER_STILL_WORKING,
    Code.FOREIGN_ORDER,
)

# Evidence with `theirs` comes from a comparison. A snapshot does not show an order's executions.
RESOLVE = f"""
UPDATE execution_driftitem d SET state = 'RESOLVED', resolved_at = clock_timestamp(),
  resolution = CASE WHEN d.resolution <> '' THEN d.resolution
    WHEN x.is_known THEN 'Its order exists here now.'
    WHEN d.kind = '{Code.LOOKUP_WINDOW_EXCEEDED.value}' THEN 'The order is no longer looked up.'
    WHEN NOT d.evidence ? 'theirs' THEN 'A comparison found no such working order at the broker.'
    ELSE 'A comparison no longer found this difference.' END
FROM (
  SELECT i.id, i.kind IN ('{Code.FORGOTTEN_ORDER.value}', '{Code.UNKNOWN_ORDER.value}') AND EXISTS (
    SELECT FROM execution_order o
    WHERE o.client_order_id = i.key AND o.connection_id = i.connection_id) AS is_known
  FROM execution_driftitem i WHERE i.connection_id = ANY(%(connections)s) AND i.state <> 'RESOLVED'
) x
WHERE d.id = x.id AND d.state <> 'RESOLVED' AND (
  x.is_known
  OR d.kind = ANY(%(compared)s::text[]) AND d.seen_at < %(began)s
    AND coalesce(jsonb_array_length(d.evidence->'fills'), 0) = 0
    AND NOT EXISTS (
      SELECT FROM unnest(%(skipped_connections)s::uuid[], %(skipped_kinds)s::text[],
          %(skipped_keys)s::text[]) AS u(connection_id, kind, key)
      WHERE u.connection_id = d.connection_id AND u.kind = d.kind AND left(u.key, 120) = d.key)
  OR d.kind = '{Code.LOOKUP_WINDOW_EXCEEDED.value}' AND NOT EXISTS (
    SELECT FROM execution_order o WHERE o.id = d.order_id AND o.status = 'UNKNOWN'))
"""


def resolve(
    connections: list[UUID], began: datetime, not_compared: Collection[tuple[UUID, Code, str]]
) -> int:
    """Resolve the differences that a comparison of these connections did not find; return how many.

    began: when the comparison began. not_compared: (connection, kind, key) that it skipped.
    """
    records = [(connection, kind.value, key) for connection, kind, key in not_compared]
    names = ("skipped_connections", "skipped_kinds", "skipped_keys")
    skipped = dict(zip(names, columns(sorted(records), 3), strict=True))
    compared = array(code.value for code in COMPARED)
    return periodic_run(
        RESOLVE, {**skipped, "connections": connections, "began": began, "compared": compared}
    )
