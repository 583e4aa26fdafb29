"""Settings that say where an account is, and what its symbols mean: not while something is open."""

from typing import Any

from brokers.connection_form import raise_first
from common.errors import ConflictError
from common.reason_codes import Code
from connections.account_settings.validation import form_for
from connections.exposure import OpenItem, describe_open_items, open_items
from connections.models import ConnectionLock, ExecutionConnection


def ensure_settings_changeable(connection: ExecutionConnection, before: dict[str, Any]) -> None:
    """Refuse settings under which what is open would be looked for where it is not.

    A claim under way is waited for: its orders are open then. Whoever claims next waits for this
    transaction, and reads the new settings. connection: with its new settings, its row locked
    (that comes first: a claim locks no connection's row). Raises InvalidInputError
    SETTING_IN_USE, one error for each field (`others`).
    """
    symbols = {one.symbol for one in _open_items_locked(connection)}
    raise_first(form_for(connection.type).in_use_errors(before, connection.settings, symbols))


def ensure_no_exposure(connection: ExecutionConnection) -> None:
    """Refuse to give an account up while anybody has to look after something in it. A claim under
    way is waited for. connection: its row locked. Raises ConflictError ACCOUNT_IN_USE."""
    if found := _open_items_locked(connection):
        raise ConflictError(
            Code.ACCOUNT_IN_USE, f"Still open in {connection.name}: {describe_open_items(found)}."
        )


def _open_items_locked(connection: ExecutionConnection) -> list[OpenItem]:
    """What is open, read after the lock: it sees what was committed while we waited for it."""
    ConnectionLock.objects.select_for_update(no_key=True).filter(pk=connection.pk).first()
    return open_items(connection.pk)
