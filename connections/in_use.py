"""Settings that say where an account is, and what its symbols mean: not while something is open."""

from typing import Any

from connections.account_settings import form_for
from connections.models import ExecutionConnection
from connections.open import what_is_open


def check(connection: ExecutionConnection, before: dict[str, Any]) -> None:
    """Refuse settings under which what is open would be looked for where it is not.

    connection: with its new settings. Raises InvalidInputError SETTING_IN_USE, one error for each
    field (`others`).
    """
    symbols = {one.symbol for one in what_is_open(connection.pk)}
    wrong = form_for(connection.type).in_use(before, connection.settings, symbols)
    if wrong:
        wrong[0].others = tuple(wrong[1:])
        raise wrong[0]
