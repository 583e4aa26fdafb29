"""Who may change what. Row-level security enforces the same in the database."""

from common.errors import InvalidInputError, raise_all
from common.permissions import Right, require
from common.reason_codes import Code
from connections.market_data.compatibility import is_compatible, lock_shared_source
from connections.models import DataConnection, ExecutionConnection, TradingPreset
from users.models import User

NOT_FOUND_MESSAGE = "It does not exist, or you may not use it."


def check_owner(
    connection: ExecutionConnection, by: User | None, right: Right = Right.CONNECTIONS
) -> None:
    """Raise NotAllowedError unless `by` owns the connection or has the right (None: the system).

    An administrator's own account counts as the operators': its owner needs the right, too.
    """
    require(by, right, owner_id=connection.user_id)


def check_references(
    owner_id: int,
    broker_type: str,
    preset: TradingPreset | None,
    data_connection: DataConnection | None,
) -> None:
    """Raise InvalidInputError if the account cannot use a preset or price source.

    FIELD_INVALID: it belongs to another user. PAPER_NEEDS_SHARED: this broker type cannot trade on
    the source. Call it in a transaction: a shared source then stays shared until its end.
    """
    source = data_connection and _locked_source(data_connection)
    errors = [
        InvalidInputError(Code.FIELD_INVALID, NOT_FOUND_MESSAGE, field=field)
        for field, row in (("preset", preset), ("data_connection", source))
        if row is not None and row.user_id not in (None, owner_id)
    ]
    if source is not None and not is_compatible(source, broker_type) and not errors:
        errors.append(InvalidInputError(Code.PAPER_NEEDS_SHARED, field="data_connection"))
    raise_all(errors)


def _locked_source(source: DataConnection) -> DataConnection:
    """Lock a shared source and read it again: it may have been withdrawn since it was read."""
    if source.user_id is not None:
        return source
    lock_shared_source(source.pk)
    locked = DataConnection.objects.filter(pk=source.pk).first()
    if locked is None:
        raise InvalidInputError(Code.FIELD_INVALID, NOT_FOUND_MESSAGE, field="data_connection")
    return locked
