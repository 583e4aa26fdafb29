"""Which differences a clean comparison settles: those that it looked for and did not find.

It looked at positions, at resting orders, and at our own rows. What a report told of an order that
we have no row of is settled by it only where that report said nothing of executions: the order does
not rest there, and that is all that it was about. What was executed for an order without a row, two
live attempts, a report that could not be written, an exit beyond what was open: no snapshot shows
these, so a person decides about them, however long that takes.
"""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from common.reason_codes import Code
from common.sql import array, columns, run
from execution.reconciliation.compare import OF_POSITIONS

COMPARED = (
    *OF_POSITIONS,
    Code.UNKNOWN_ORDER,
    Code.ORDER_MISSING,
    Code.ORDER_STILL_WORKING,
    Code.FOREIGN_ORDER,
)

# `theirs`: a comparison has seen it. An order's executions are no part of a snapshot.
RESOLVE = f"""
UPDATE execution_driftitem d SET state = 'RESOLVED', resolved_at = clock_timestamp(),
  resolution = CASE WHEN d.resolution <> '' THEN d.resolution
    WHEN x.known THEN 'We have a row of it again.'
    WHEN d.kind = '{Code.LOOKUP_WINDOW_EXCEEDED.value}' THEN 'The order is looked up no more.'
    WHEN NOT d.evidence ? 'theirs' THEN 'It does not wait at the broker, says a clean comparison.'
    ELSE 'Not seen any more by a clean comparison.' END
FROM (
  SELECT i.id, i.kind IN ('{Code.FORGOTTEN_ORDER.value}', '{Code.UNKNOWN_ORDER.value}') AND EXISTS (
    SELECT FROM execution_order o
    WHERE o.client_order_id = i.key AND o.connection_id = i.connection_id) AS known
  FROM execution_driftitem i WHERE i.connection_id = ANY(%(connections)s) AND i.state <> 'RESOLVED'
) x
WHERE d.id = x.id AND d.state <> 'RESOLVED' AND (
  x.known
  OR d.kind = ANY(%(compared)s::text[]) AND d.seen_at < %(began)s
    AND coalesce(jsonb_array_length(d.evidence->'fills'), 0) = 0
    AND NOT EXISTS (
      SELECT FROM unnest(%(unseen_of)s::uuid[], %(unseen_kinds)s::text[], %(unseen_keys)s::text[])
        AS u(connection_id, kind, key)
      WHERE u.connection_id = d.connection_id AND u.kind = d.kind AND left(u.key, 120) = d.key)
  OR d.kind = '{Code.LOOKUP_WINDOW_EXCEEDED.value}' AND NOT EXISTS (
    SELECT FROM execution_order o WHERE o.id = d.order_id AND o.status = 'UNKNOWN'))
"""


def resolve(
    connections: list[UUID], began: datetime, unseen: Collection[tuple[UUID, Code, str]]
) -> int:
    """Settle what a comparison that began then looked for and did not find; return how many.

    unseen: (connection, kind, key) that it passed over.
    """
    lines = [(connection, kind.value, key) for connection, kind, key in unseen]
    names = ("unseen_of", "unseen_kinds", "unseen_keys")
    passed = dict(zip(names, columns(sorted(lines), 3), strict=True))
    compared = array(code.value for code in COMPARED)
    return run(
        RESOLVE, {**passed, "connections": connections, "began": began, "compared": compared}
    )
