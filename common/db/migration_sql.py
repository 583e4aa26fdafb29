"""SQL of migrations from files: `<app>/migrations/sql/<name>.sql`."""

from pathlib import Path

from django.db.migrations import RunSQL


def run_file(migration: str, name: str) -> RunSQL:
    """Return the operation that runs an SQL file. migration: the migration's `__file__`."""
    return RunSQL((Path(migration).parent / "sql" / name).read_text("utf-8"))
