"""The audit trail: who changed which setting, when, from where, from what to what.

The database writes it: a trigger on each tracked table adds a line for every insert, change and
deletion, also for a `queryset.update()` and SQL by hand. Its functions belong to the owner of the
tables; the application's roles can neither write, change nor remove a line, nor make the trigger
skip one. At commit each line gets the next number and the SHA-256 of the line before and of its own
content, so that what is changed, removed or inserted later is found (`manage.py verify_trail`).

Never on orders, fills, positions, health or logs: those have their own journal and a thousand times
the writes. `console/tracked_tables.py` lists what is tracked.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import transaction

from common.sql import rows

CONTEXT = "fillcast.trail"
"""A setting of the transaction: JSON of who changes something, from where, by which entry point."""
PROGRAM = "fillcast.program"
"""A setting of the session: which program it is, for changes that no request stands behind."""
SET_CONTEXT = f"set_config('{CONTEXT}', %s, true)"

_request: ContextVar[Mapping[str, Any] | None] = ContextVar("request", default=None)


@contextmanager
def request_facts(**facts: Any) -> Iterator[None]:
    """Keep what is known of the present request; `context_json` adds it to each transaction."""
    token = _request.set(facts)
    try:
        yield
    finally:
        _request.reset(token)


def request_fact(name: str) -> str:
    """Return what is known of the present request under that name; empty if nothing is."""
    return str((_request.get() or {}).get(name, ""))


def context_json(user_id: int | str | None = None, **facts: Any) -> str:
    """Return what the trigger reads: the user, the request's facts, and `facts`."""
    known = {"user": int(user_id) if user_id else None, **(_request.get() or {}), **facts}
    return json.dumps({name: value for name, value in known.items() if value is not None})


@contextmanager
def changed_by(user_id: int | None, **facts: Any) -> Iterator[None]:
    """State who makes the changes in this block of a transaction: for services with a `by`.

    Raises TransactionManagementError outside a transaction: the statement would end with it.
    """
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError("Who changes something is stated inside one.")
    (before,) = rows(f"SELECT coalesce(current_setting('{CONTEXT}', true), '') AS context")
    rows(f"SELECT {SET_CONTEXT}", (context_json(user_id, **facts),))
    yield  # an error rolls back, and the setting with it
    rows(f"SELECT {SET_CONTEXT}", (before.context,))
