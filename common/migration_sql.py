"""SQL of a migration that lies in files beside it: `<app>/migrations/sql/<name>.sql`."""

from pathlib import Path

from django.db.migrations import RunSQL


def run_file(migration: str, name: str) -> RunSQL:
    """Run a file of SQL. migration: the `__file__` of the migration that runs it."""
    return RunSQL((Path(migration).parent / "sql" / name).read_text("utf-8"))
