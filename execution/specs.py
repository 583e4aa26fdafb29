"""What an adapter needs to know of a connection, from a row that a statement here has loaded."""

from typing import Any

from brokers.base import ConnectionSpec
from connections.credentials import open_credentials


def spec_from_row(row: Any) -> ConnectionSpec:
    """Return the spec of a row with connection_id, owner_id, account, exchange_name, settings and
    sealed_credentials, which are opened here: only trading processes can.

    Raises CredentialsError when they do not open.
    """
    return ConnectionSpec(
        connection_id=str(row.connection_id),
        account=row.account,
        exchange_name=row.exchange_name,
        settings=row.settings,
        credentials=open_credentials(
            row.sealed_credentials, connection_id=row.connection_id, owner_id=row.owner_id
        ),
    )
