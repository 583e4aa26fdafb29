"""The audit trail: who changed which setting, when, from where, from what to what.

The database writes it: a trigger on each tracked table adds a line for every insert, change and
deletion, including `queryset.update()` and manual SQL. The functions belong to the owner of the
tables; the application's roles can neither write, change nor remove a line, nor make the trigger
skip one. At commit each line gets the next number and the SHA-256 of the previous line's hash and
its own content, so that a later change, removal or insertion is found (`manage.py verify_trail`).

Orders, fills, positions, health and logs are not tracked: they have their own journal and a
thousand times as many writes. `console/tracked_tables.py` lists the tracked tables.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import transaction

from common.db.sql import rows

CONTEXT = "fillcast.trail"
"""A setting of the transaction: JSON with the user, the address and the entry point of a change."""
PROGRAM = "fillcast.program"
"""A setting of the session: the program, for changes outside a request."""
SET_CONTEXT = f"set_config('{CONTEXT}', %s, true)"

_request: ContextVar[Mapping[str, Any] | None] = ContextVar("request", default=None)


@contextmanager
def request_facts(**facts: Any) -> Iterator[None]:
    """Store facts about the current request; `context_json` adds them to each transaction."""
    token = _request.set(facts)
    try:
        yield
    finally:
        _request.reset(token)


def add_request_fact(name: str, value: Any) -> None:
    """Add a fact that became known during the request: the API key. Outside one, it is nothing."""
    facts = _request.get()
    if facts is not None:
        _request.set({**facts, name: value})


def request_fact(name: str) -> str:
    """Return a fact about the current request; empty if it is not known."""
    return str((_request.get() or {}).get(name, ""))


def context_json(user_id: int | str | None = None, **facts: Any) -> str:
    """Return the JSON that the trigger reads: the user, the request's facts, and `facts`."""
    known = {"user": int(user_id) if user_id else None, **(_request.get() or {}), **facts}
    return json.dumps({name: value for name, value in known.items() if value is not None})


@contextmanager
def changed_by(user_id: int | None, **facts: Any) -> Iterator[None]:
    """Set the user whose changes this block makes: for services with a `by`.

    Raises TransactionManagementError outside a transaction, since the setting ends with it.
    """
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError(
            "The user of a change can only be set inside a transaction."
        )
    (before,) = rows(f"SELECT coalesce(current_setting('{CONTEXT}', true), '') AS context")
    rows(f"SELECT {SET_CONTEXT}", (context_json(user_id, **facts),))
    yield  # an error rolls the setting back, too
    rows(f"SELECT {SET_CONTEXT}", (before.context,))
