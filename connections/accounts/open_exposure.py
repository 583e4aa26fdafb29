"""Refuse changes that would lose track of what is open in an account."""

from typing import Any

from brokers.connection_form import raise_first
from common.errors import ConflictError
from common.reason_codes import Code
from connections.account_settings.validation import form_for
from connections.exposure import OpenItem, describe_open_items, open_items
from connections.models import ConnectionLock, ExecutionConnection


def ensure_settings_changeable(connection: ExecutionConnection, before: dict[str, Any]) -> None:
    """Refuse new settings that name another account, or give symbols another meaning.

    Waits for an order claim that is under way, whose orders then count as open. The next claim
    waits for this transaction and reads the new settings. connection: with its new settings, its
    row locked first (a claim locks no connection rows). Raises InvalidInputError SETTING_IN_USE,
    with one error for each field (`others`).
    """
    symbols = {item.symbol for item in _open_items_locked(connection)}
    raise_first(form_for(connection.type).in_use_errors(before, connection.settings, symbols))


def ensure_no_exposure(connection: ExecutionConnection) -> None:
    """Raise ConflictError ACCOUNT_IN_USE if anything is open in the account.

    Waits for an order claim that is under way. connection: its row locked.
    """
    if items := _open_items_locked(connection):
        raise ConflictError(
            Code.ACCOUNT_IN_USE, f"Still open in {connection.name}: {describe_open_items(items)}."
        )


def _open_items_locked(connection: ExecutionConnection) -> list[OpenItem]:
    """Return what is open, read after locking, so that it includes what was committed meanwhile."""
    ConnectionLock.objects.select_for_update(no_key=True).filter(pk=connection.pk).first()
    return open_items(connection.pk)
