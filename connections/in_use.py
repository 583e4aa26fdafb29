"""Settings that say where an account is, and what its symbols mean: not while something is open."""

from typing import Any

from brokers.form import raise_first
from connections.account_settings import form_for
from connections.models import ExecutionConnection, Mailbox
from connections.open import what_is_open


def check(connection: ExecutionConnection, before: dict[str, Any]) -> None:
    """Refuse settings under which what is open would be looked for where it is not.

    A claim under way is waited for: its orders are open then. Whoever claims next waits for this
    transaction, and reads the new settings. connection: with its new settings, its row locked
    (that comes first: a claim locks no connection's row). Raises InvalidInputError
    SETTING_IN_USE, one error for each field (`others`).
    """
    Mailbox.objects.select_for_update(no_key=True).filter(pk=connection.pk).first()
    # What is open is read by later statements: they see what was committed while we waited.
    symbols = {one.symbol for one in what_is_open(connection.pk)}
    raise_first(form_for(connection.type).in_use(before, connection.settings, symbols))
