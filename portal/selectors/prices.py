"""Where an account's prices come from, as its owner reads it."""

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
    """source None: it has none. offers_own: its own broker could tell them and does not yet."""

    source: DataConnection | None
    status: SourceStatus | None
    is_own: bool
    offers_own: bool
    users: int

    @property
    def broker_connection(self) -> ExecutionConnection | None:
        """Another account of the reader's that tells them."""
        return None if self.source is None or self.is_own else self.source.broker_connection

    @property
    def others(self) -> int:
        """How many other accounts of the reader's go by the same prices."""
        return max(self.users - 1, 0)


def prices_of(connection: ExecutionConnection, reader: User) -> Prices:
    """Return where an account's prices come from, and how that fares now."""
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
