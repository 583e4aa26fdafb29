"""Build the `ConnectionSpec` that an adapter needs, with decrypted credentials."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import structlog

from brokers.types import ConnectionSpec
from common.errors import MisconfiguredError
from connections import sealing
from connections.models import ExecutionConnection
from connections.sealing import credentials_digest

log = structlog.get_logger(__name__)


SPEC_COLUMNS = (
    "c.type, c.account, c.exchange_name, c.settings, c.sealed_credentials, c.identity,"
    " c.identity_credentials_digest, coalesce(c.user_id, c.admin_id) AS owner_id"
)
"""SQL: the columns of connection `c` that `spec_from_row` needs, besides `connection_id`."""


class SpecRow(Protocol):
    """A row with `connection_id` and SPEC_COLUMNS; an AccountRow is one."""

    @property
    def connection_id(self) -> UUID | str: ...
    @property
    def type(self) -> str: ...
    @property
    def account(self) -> str: ...
    @property
    def exchange_name(self) -> str: ...
    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def sealed_credentials(self) -> bytes | memoryview | None: ...
    @property
    def identity(self) -> str: ...
    @property
    def identity_credentials_digest(self) -> str: ...
    @property
    def owner_id(self) -> int: ...


# `began` is the statement's start: its rows are as they were then, whenever they are read.
READ_COLUMNS = (
    f"c.id AS connection_id, {SPEC_COLUMNS}, c.broker_host, c.claim, c.credentials_claim, "
    "statement_timestamp() AS began"
)
"""SQL: the columns of connection `c` that `account_polling.read_accounts` needs."""


@dataclass(frozen=True, slots=True)
class AccountRow:
    """A row with `connection_id`, SPEC_COLUMNS and `broker_host`.

    Statements that select more columns return a subclass.
    """

    connection_id: UUID
    type: str
    account: str
    exchange_name: str
    settings: dict[str, Any]
    sealed_credentials: bytes | None
    identity: str
    identity_credentials_digest: str
    owner_id: int
    broker_host: str


@dataclass(frozen=True, slots=True)
class ReadRow(AccountRow):
    """A row of READ_COLUMNS. began: machine time of the statement that read it."""

    claim: str
    credentials_claim: str
    began: datetime


def spec_for(connection: ExecutionConnection) -> ConnectionSpec:
    """Return the spec of a connection with its credentials.

    Raises CredentialsError if they do not open; MisconfiguredError if this process has no keys.
    """
    return _spec(connection, connection.pk, connection.open_credentials())


def spec_from_row(row: SpecRow) -> ConnectionSpec:
    """Return the spec from a row with `connection_id` and SPEC_COLUMNS.

    Credentials that do not open are logged and left out, so that they do not affect the other
    connections of a bundle. The adapter then raises NotSent or NO_CREDENTIALS.
    """
    try:
        opened = sealing.open_credentials(
            row.sealed_credentials, connection_id=row.connection_id, owner_id=row.owner_id
        )
    except (sealing.CredentialsError, MisconfiguredError) as error:
        log.warning("credentials_closed", connection=str(row.connection_id), error=str(error))
        opened = {}
    return _spec(row, row.connection_id, opened)


def spec_without_credentials(row: SpecRow) -> ConnectionSpec:
    """Return the spec without credentials, which is enough to determine capabilities."""
    return _spec(row, row.connection_id, {})


def _spec(
    source: SpecRow | ExecutionConnection, connection_id: UUID | str, opened: dict[str, str]
) -> ConnectionSpec:
    return ConnectionSpec(
        connection_id=str(connection_id),
        account=source.account,
        exchange_name=source.exchange_name,
        settings=source.settings,
        credentials=opened,
        identity=source.identity,
        is_identity_sure=bool(source.identity)
        and source.identity_credentials_digest == credentials_digest(source.sealed_credentials),
    )
