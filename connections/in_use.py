"""Settings that say where an account is, and what its symbols mean: not while something is open.

Orders and positions are rooms above this one; who knows what is open says so (`use`).
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from connections.account_settings import form_for
from connections.models import ExecutionConnection

_open_symbols: Callable[[UUID], set[str]] = lambda _: set()  # noqa: E731


def use(open_symbols: Callable[[UUID], set[str]]) -> None:
    """Let `open_symbols` say what has an order at its broker or a position: the broker's names."""
    global _open_symbols
    _open_symbols = open_symbols


def check(connection: ExecutionConnection, before: dict[str, Any]) -> None:
    """Refuse settings under which what is open would be looked for where it is not.

    connection: with its new settings. Raises InvalidInputError SETTING_IN_USE, one error for each
    field (`others`).
    """
    wrong = form_for(connection.type).in_use(
        before, connection.settings, _open_symbols(connection.pk)
    )
    if wrong:
        wrong[0].others = tuple(wrong[1:])
        raise wrong[0]
