"""The audit trail of settings: who changed what, when, from what to what.

Triggers write a row into `<model>event` for each insert, change and deletion, so that a
`queryset.update()` and SQL by hand leave a trace too. Who: pghistory's context, which the
middleware fills for requests and `changed_by` for everything else. Never on orders, fills,
positions, health or logs: those have their own journal and a thousand times the writes.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import pghistory
from django.db import models
from django.db.migrations import RunSQL

from common.row_security import OPERATOR, TRADE, WEB, append_only, operator_rows

M = TypeVar("M", bound=type[models.Model])


def tracked(
    *,
    fields: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    app_label: str | None = None,
) -> Callable[[M], M]:
    """Keep every version of a model's rows: of `fields`, or of all but `exclude` (secrets, noise).

    A change of another column alone leaves no line. The table of versions needs
    `history_rows` in a migration.
    """

    def decorate(model: M) -> M:
        track: Callable[[M], M] = pghistory.track(
            pghistory.InsertEvent(),
            pghistory.UpdateEvent(),
            pghistory.DeleteEvent(),
            fields=None if fields is None else list(fields),
            exclude=list(exclude),
            model_name=f"{model.__name__}Event",
            app_label=app_label,
            meta={"default_permissions": ("view",)},
        )
        return track(model)

    return decorate


def changed_by(user_id: int | None, **facts: Any) -> AbstractContextManager[Any]:
    """Say who makes the changes in this block: for commands, tasks and services with a `by`."""
    context: AbstractContextManager[Any] = pghistory.context(user=user_id, **facts)
    return context


def history_rows(table: str) -> list[RunSQL]:
    """Everybody's changes append to a table of versions; operators read it; nobody rewrites it."""
    return [operator_rows(table, add=True), append_only(table)]


_PRESENT = "id::text = current_setting('pghistory.context_id', true)"


def context_rows() -> list[RunSQL]:
    """The same for the table of contexts, of which the present one may still grow."""
    table = "pghistory_context"
    secure = operator_rows(table, add=True)
    own = tuple(
        f"ALTER POLICY operator_rows_{command} ON {table} USING ({OPERATOR} OR {_PRESENT})"
        for command in ("select", "update")
    )
    narrow = f"GRANT UPDATE (metadata, updated_at) ON {table} TO {WEB}, {TRADE}"
    return [
        secure,
        RunSQL(own, RunSQL.noop),
        append_only(table),
        RunSQL(narrow, f"REVOKE UPDATE (metadata, updated_at) ON {table} FROM {WEB}, {TRADE}"),
    ]
