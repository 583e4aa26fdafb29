"""Settings that say where an account is, and what its symbols mean: not while something is open."""

from typing import Any

from brokers.form import raise_first
from common.codes import Code
from common.errors import ConflictError
from connections.account_settings import form_for
from connections.models import ExecutionConnection, Mailbox
from connections.open import Open, in_words, what_is_open


def check(connection: ExecutionConnection, before: dict[str, Any]) -> None:
    """Refuse settings under which what is open would be looked for where it is not.

    A claim under way is waited for: its orders are open then. Whoever claims next waits for this
    transaction, and reads the new settings. connection: with its new settings, its row locked
    (that comes first: a claim locks no connection's row). Raises InvalidInputError
    SETTING_IN_USE, one error for each field (`others`).
    """
    symbols = {one.symbol for one in _open_in(connection)}
    raise_first(form_for(connection.type).in_use(before, connection.settings, symbols))


def check_nothing(connection: ExecutionConnection) -> None:
    """Refuse to give an account up while anybody has to look after something in it. A claim under
    way is waited for. connection: its row locked. Raises ConflictError ACCOUNT_IN_USE."""
    if found := _open_in(connection):
        raise ConflictError(
            Code.ACCOUNT_IN_USE, f"Still open in {connection.name}: {in_words(found)}."
        )


def _open_in(connection: ExecutionConnection) -> list[Open]:
    """What is open, read after the lock: it sees what was committed while we waited for it."""
    Mailbox.objects.select_for_update(no_key=True).filter(pk=connection.pk).first()
    return what_is_open(connection.pk)
