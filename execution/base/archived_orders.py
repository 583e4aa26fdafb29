"""Orders that are in the archive, by the ids that a broker may still name them by."""

from collections.abc import Iterable
from typing import NamedTuple

from common.db.sql import Query, rows
from execution.ids import all_attempts, base_of


class KnownOrder(NamedTuple):
    """An order in the archive, and how it ended."""

    id: int
    signal_id: int
    connection_id: str
    client_order_id: str
    status: str

    @property
    def name(self) -> str:
        """Its name for people, with the command that reads it."""
        return f"O-{self.id} of S-{self.signal_id}, in the archive"


BY_CLIENT_ID = Query(
    KnownOrder,
    """
SELECT id, signal_id, connection_id::text, client_order_id, status FROM execution_archivedorder
WHERE client_order_id = ANY(%s::text[])
""",
)


def archived_orders(client_order_ids: Iterable[str]) -> dict[tuple[str, str], KnownOrder]:
    """Return the archived orders with these ids, of any attempt, by connection and base id."""
    ids = [attempt for known in set(client_order_ids) if known for attempt in all_attempts(known)]
    found = rows(BY_CLIENT_ID, (ids,)) if ids else []
    return {(row.connection_id, base_of(row.client_order_id)): row for row in found}
