"""What an upgrade may do to tables that are large and in use."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations
from django.db.migrations.loader import MigrationLoader

LARGE = {
    "order", "fill", "executionlog", "executionposition", "event", "signal", "candle",
    "paperorder", "paperfill",
}  # fmt: skip
OF_THE_FIRST_VERSION = {
    ("execution", "0003_lookups"),
    ("positions", "0003_open_ones_by_what_is_asked"),
}


def test_indexes_of_large_tables_are_built_while_they_are_written() -> None:
    """CREATE INDEX holds up every order for as long as it reads the table."""
    locking: list[tuple[str, str, str]] = []
    concurrent: list[tuple[str, str, str]] = []
    for key, migration in MigrationLoader(None).disk_migrations.items():
        made = {o.name_lower for o in migration.operations if isinstance(o, migrations.CreateModel)}
        for operation in migration.operations:
            if not isinstance(operation, migrations.AddIndex):
                continue
            if operation.model_name_lower not in LARGE - made or key in OF_THE_FIRST_VERSION:
                continue
            is_concurrent = isinstance(operation, AddIndexConcurrently) and not migration.atomic
            (concurrent if is_concurrent else locking).append((*key, operation.index.name))
    assert locking == []
    assert len(concurrent) >= 6
