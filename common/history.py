"""For migrations only: how the tables of the former audit trail were closed to the application.

The trail is written by `common/audit_trail.py` and `common/trail_functions.py`.
"""

from django.db.migrations import RunSQL

from common.row_security import OPERATOR, TRADE, WEB, append_only, operator_rows


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
