"""Where an account's prices come from, for its owner."""

from dataclasses import dataclass
from datetime import UTC, datetime

from connections.models import DataConnection, ExecutionConnection
from connections.selectors import (
    SourceStatus,
    can_provide_prices,
    source_status,
    source_with_status,
)
from users.models import User


@dataclass(frozen=True, slots=True)
class Prices:
    """An account's price source; None: it has none. offers_own: its own broker could provide prices
    and does not yet.
    """

    source: DataConnection | None
    status: SourceStatus | None
    is_own: bool
    offers_own: bool
    users: int

    @property
    def broker_connection(self) -> ExecutionConnection | None:
        """The reader's other account whose broker provides them, if any."""
        return None if self.source is None or self.is_own else self.source.broker_connection

    @property
    def others(self) -> int:
        """How many other accounts of the reader use the same source."""
        return max(self.users - 1, 0)


def prices_of(connection: ExecutionConnection, reader: User) -> Prices:
    """Return where an account's prices come from, and the status of that source."""
    found = source_with_status(connection)
    is_own = found is not None and found.broker_connection_id == connection.pk
    users = ExecutionConnection.objects.live().of(reader.pk).filter(data_connection=found)
    return Prices(
        source=found,
        status=source_status(found, datetime.now(UTC), reader=reader) if found else None,
        is_own=is_own,
        offers_own=not (is_own and found is not None and found.is_active)
        and can_provide_prices(connection.type, connection.exchange_name),
        users=users.count() if found else 0,
    )
