"""What migrations may do to tables that are large and in use, and what they may import."""

import ast
import inspect
import sys
from pathlib import Path

import pytest
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

LARGE = {
    "order", "fill", "executionlog", "executionposition", "event", "signal", "candle",
    "paperorder", "paperfill",
}  # fmt: skip

# What others build on stays as it is: helpers of common, and the expression of one column.
MAY_IMPORT = {"common", "connections.models.accounts"}


def locking_indexes(migration: migrations.Migration) -> list[str]:
    """Return the indexes of large tables that a migration builds while writers wait."""
    made = {o.name_lower for o in migration.operations if isinstance(o, migrations.CreateModel)}
    added = [o for o in migration.operations if isinstance(o, migrations.AddIndex)]
    return [
        one.index.name
        for one in added
        if one.model_name_lower in LARGE - made
        and not (isinstance(one, AddIndexConcurrently) and not migration.atomic)
    ]


def migration_of(*operations: Operation, atomic: bool) -> migrations.Migration:
    made: type[migrations.Migration] = type(
        "Migration", (migrations.Migration,), {"operations": list(operations), "atomic": atomic}
    )
    return made("0002_index", "execution")


def test_migrations_import_no_code_that_changes_later() -> None:
    """Nor a package that may be missing where they run: each says itself what it needs."""
    ours = {place.name for place in Path(__file__).parents[2].iterdir() if place.is_dir()}
    importing = []
    for (app, name), migration in MigrationLoader(None).disk_migrations.items():
        if app not in ours:
            continue
        tree = ast.parse(inspect.getsource(sys.modules[type(migration).__module__]))
        named = [one.module or "" for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)]
        for one in ast.walk(tree):
            named += [alias.name for alias in one.names] if isinstance(one, ast.Import) else []
        importing += [
            (app, name, module)
            for module in named
            if module.split(".")[0] in ours and not {module, module.split(".")[0]} & MAY_IMPORT
        ]
    assert importing == []


def test_indexes_of_large_tables_are_built_while_they_are_written() -> None:
    """CREATE INDEX holds up every order for as long as it reads the table."""
    loaded = MigrationLoader(None).disk_migrations
    assert ("execution", "0001_initial") in loaded
    assert {key: names for key, one in loaded.items() if (names := locking_indexes(one))} == {}


@pytest.mark.parametrize(
    ("operation", "atomic", "found"),
    [
        (migrations.AddIndex, True, ["of_order"]),
        (AddIndexConcurrently, True, ["of_order"]),  # PostgreSQL refuses it in a transaction
        (AddIndexConcurrently, False, []),
    ],
    ids=["locking", "in a transaction", "concurrent"],
)
def test_an_index_that_locks_a_large_table_is_found(
    operation: type[migrations.AddIndex], atomic: bool, found: list[str]
) -> None:
    added = operation("order", models.Index(fields=["status"], name="of_order"))
    assert locking_indexes(migration_of(added, atomic=atomic)) == found
    new_table = migrations.CreateModel("Order", [])
    assert locking_indexes(migration_of(new_table, added, atomic=atomic)) == []
