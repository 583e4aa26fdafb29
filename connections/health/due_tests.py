"""Which connection tests were requested and are not done."""

from uuid import UUID

from common.db.sql import array, rows
from connections import session_lanes
from connections.session_lanes import IN_HELD_LANES_SQL, held_lanes_parameters

# A partial index has these rows.
DUE_SQL = """h.test_requested_at IS NOT NULL AND c.archived_at IS NULL
  AND (h.last_tested_at IS NULL OR h.last_tested_at < h.test_requested_at)"""
ANY_DUE = f"""
SELECT EXISTS (SELECT FROM connections_connectionhealth h
  JOIN connections_executionconnection c ON c.id = h.connection_id WHERE {DUE_SQL}) AS is_any
"""


def due_tests(limit: int) -> list[UUID]:
    """Return connections whose requested test is not done, the oldest request first.

    These are connections in this process's lanes. General workers also get, last, those whose lane
    is without a worker: these stay due until a worker holds the lane.
    """
    due = rows(
        f"""
        SELECT h.connection_id FROM connections_connectionhealth h
        JOIN connections_executionconnection c ON c.id = h.connection_id
        WHERE {DUE_SQL}
          AND ({IN_HELD_LANES_SQL} OR '' = ANY(%(lanes)s::text[]) AND c.lane =
            ANY(%(without_worker)s::text[]))
        ORDER BY NOT {IN_HELD_LANES_SQL}, h.test_requested_at LIMIT %(limit)s
        """,
        {
            "limit": limit,
            "without_worker": array(
                session_lanes.lanes_without_worker(session_lanes.HANDOVER_SECONDS)
            ),
            **held_lanes_parameters(),
        },
    )
    return [row.connection_id for row in due]
