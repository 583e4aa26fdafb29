"""Going by what one's own broker tells, and switching a price source off and on."""

from uuid import UUID

from django.db import transaction

from common.codes import Code
from common.errors import ConflictError
from common.permissions import Right, require
from connections.lifecycle import locked, update_connection
from connections.models import DataConnection, ExecutionConnection
from connections.sources import tell_prices
from users.models import User


@transaction.atomic
def use_own_prices(connection_id: UUID, *, by: User | None) -> DataConnection:
    """Let an account trade on what its own broker tells, from the next signal on.

    Raises what `tell_prices` raises; ConflictError STATE_CONFLICT where it is archived.
    """
    source = tell_prices(locked(connection_id, by), by=by)
    update_connection(connection_id, by=by, data_connection=source)
    return source


@transaction.atomic
def switch_source(source_id: int, *, by: User | None, on: bool) -> bool:
    """Switch a source on or off; while it is off, whoever uses it gets no entry. Returns False if
    it was so already.

    Raises NotAllowedError to who does not own it; ConflictError STATE_CONFLICT for a broker's
    source that no live account tells.
    """
    source = DataConnection.objects.select_for_update(no_key=True, of=("self",)).get(pk=source_id)
    require(by, Right.PRICES, owner_id=source.user_id)
    if source.is_active == on:
        return False
    if on and source.kind == DataConnection.Kind.BROKER and not _is_told(source):
        raise ConflictError(Code.STATE_CONFLICT, "No live account tells these prices any more.")
    source.is_active = on
    source.save(update_fields=["is_active"])
    return True


def _is_told(source: DataConnection) -> bool:
    live = ExecutionConnection.objects.live()
    return source.told_by_id is not None and live.filter(pk=source.told_by_id).exists()
