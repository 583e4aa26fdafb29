"""Who may decide about what. Row-level security says the same once more, a floor below."""

from common.errors import InvalidInputError
from common.permissions import Right, require
from common.reason_codes import Code
from connections.market_data.compatibility import is_compatible, lock_shared_source
from connections.models import DataConnection, ExecutionConnection, TradingPreset
from users.models import User

NOT_FOUND_MESSAGE = "There is no such one."


def check_owner(
    connection: ExecutionConnection, by: User | None, right: Right = Right.CONNECTIONS
) -> None:
    """Raise NotAllowedError unless `by` owns the connection or has the right (None: the system).

    An administrator's own account is the house's: that takes the right, whoever's it is.
    """
    require(by, right, owner_id=connection.user_id)


def check_references(
    owner_id: int,
    broker_type: str,
    preset: TradingPreset | None,
    data_connection: DataConnection | None,
) -> None:
    """Raise InvalidInputError if a preset or price source is somebody else's (FIELD_INVALID), or
    accounts of this kind cannot trade on the source (PAPER_NEEDS_SHARED). In a transaction: a
    source that is for all stays so until it ends."""
    source = data_connection and _locked_source(data_connection)
    for field, thing in (("preset", preset), ("data_connection", source)):
        if thing is not None and thing.user_id not in (None, owner_id):
            raise InvalidInputError(Code.FIELD_INVALID, NOT_FOUND_MESSAGE, field=field)
    if source is not None and not is_compatible(source, broker_type):
        raise InvalidInputError(Code.PAPER_NEEDS_SHARED, field="data_connection")


def _locked_source(source: DataConnection) -> DataConnection:
    """A source for all may have been taken back since it was read: its reader may not see it."""
    if source.user_id is not None:
        return source
    lock_shared_source(source.pk)
    found = DataConnection.objects.filter(pk=source.pk).first()
    if found is None:
        raise InvalidInputError(Code.FIELD_INVALID, NOT_FOUND_MESSAGE, field="data_connection")
    return found
