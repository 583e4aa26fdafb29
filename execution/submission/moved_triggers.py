"""Read the trailing stops that the engine holds by the prices of a former price source."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from common.db.sql import Query, array, rows
from execution.models import TriggerKind
from execution.submission.outcomes import MovedTrail
from execution.submission.rows import OrderRow
from execution.submission.triggers import HELD_AS, is_held

TRAILING = TriggerKind.TRAILING


class _MovedRow(NamedTuple):
    order_id: int
    distance: Decimal
    activation_price: Decimal | None
    is_active: bool


MOVED = Query(
    _MovedRow,
    """
SELECT t.order_id, t.distance, t.activation_price, t.active_since IS NOT NULL AS is_active
FROM execution_ordertrigger t
JOIN unnest(%s::bigint[], %s::bigint[]) AS asked(order_id, source_id) USING (order_id)
WHERE t.is_armed AND t.kind = 'TRAILING' AND t.source_id IS DISTINCT FROM asked.source_id
""",
)


def moved_trails_of(pending: Iterable[OrderRow]) -> dict[int, MovedTrail]:
    """Return the armed trailing stops of accounts that have another price source now, by order id.

    Without a held trailing stop nothing is read.
    """
    held = [
        row
        for row in pending
        if row.data_connection_id and is_held(row) and HELD_AS[row.order_type][0] is TRAILING
    ]
    if not held:
        return {}
    asked = (array(row.id for row in held), array(row.data_connection_id for row in held))
    return {
        row.order_id: MovedTrail(row.distance, row.activation_price, row.is_active)
        for row in rows(MOVED, asked)
    }
