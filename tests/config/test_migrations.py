"""What an upgrade may do to tables that are large and in use, and what it may ask."""

import ast
import inspect
import sys
from pathlib import Path

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

# What others build on stays as it is: helpers of common, and the expression of one column.
MAY_IMPORT = {"common", "connections.models.accounts"}


def test_no_migration_asks_code_that_says_something_else_tomorrow() -> None:
    """Nor a package that may not be installed where it runs: it says itself what it needs."""
    ours = {place.name for place in Path(__file__).parents[2].iterdir() if place.is_dir()}
    asking = []
    for (app, name), migration in MigrationLoader(None).disk_migrations.items():
        if app not in ours:
            continue
        tree = ast.parse(inspect.getsource(sys.modules[type(migration).__module__]))
        named = [one.module or "" for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)]
        for one in ast.walk(tree):
            named += [alias.name for alias in one.names] if isinstance(one, ast.Import) else []
        asking += [
            (app, name, module)
            for module in named
            if module.split(".")[0] in ours and not {module, module.split(".")[0]} & MAY_IMPORT
        ]
    assert asking == []


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
