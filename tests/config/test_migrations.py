"""What migrations may do to large tables in use, and what they may import."""

import ast

import pytest
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from tests.prepared_database import MIGRATIONS_IMPORT, ROOT

LARGE = {
    "order", "fill", "executionlog", "executionposition", "event", "signal", "candle",
    "paperorder", "paperfill",
}  # fmt: skip


def locking_indexes(migration: migrations.Migration) -> list[str]:
    """Return the indexes of large tables that a migration builds while writers wait."""
    created = {o.name_lower for o in migration.operations if isinstance(o, migrations.CreateModel)}
    added = [o for o in migration.operations if isinstance(o, migrations.AddIndex)]
    return [
        operation.index.name
        for operation in added
        if operation.model_name_lower in LARGE - created
        and not (isinstance(operation, AddIndexConcurrently) and not migration.atomic)
    ]


def migration_of(*operations: Operation, atomic: bool) -> migrations.Migration:
    migration_class: type[migrations.Migration] = type(
        "Migration", (migrations.Migration,), {"operations": list(operations), "atomic": atomic}
    )
    return migration_class("0002_index", "execution")


def test_migrations_import_no_application_code() -> None:
    """Application code changes later, and its packages may be missing where migrations run."""
    ours = {place.name for place in ROOT.iterdir() if place.is_dir()} - {".venv", "var"}
    importing, read = [], 0
    for path in (path for name in ours for path in (ROOT / name).glob("**/migrations/*.py")):
        read += 1
        tree = ast.parse(path.read_text())
        named = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        for node in ast.walk(tree):
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        importing += [
            (str(path), module)
            for module in named
            if module.split(".")[0] in ours
            and not module.endswith(".migrations")
            and not {module, module.split(".")[0]} & {*MIGRATIONS_IMPORT}
        ]
    assert importing == []
    assert read > 20


def test_indexes_of_large_tables_are_built_concurrently() -> None:
    """CREATE INDEX blocks every order while it reads the table."""
    loaded = MigrationLoader(None).disk_migrations
    assert ("execution", "0001_initial") in loaded
    locking = {key: locking_indexes(migration) for key, migration in loaded.items()}
    assert {key: names for key, names in locking.items() if names} == {}


@pytest.mark.parametrize(
    ("operation", "atomic", "locking"),
    [
        (migrations.AddIndex, True, ["of_order"]),
        (AddIndexConcurrently, True, ["of_order"]),  # PostgreSQL refuses it in a transaction
        (AddIndexConcurrently, False, []),
    ],
    ids=["locking", "in a transaction", "concurrent"],
)
def test_locking_index_on_large_table_is_detected(
    operation: type[migrations.AddIndex], atomic: bool, locking: list[str]
) -> None:
    added = operation("order", models.Index(fields=["status"], name="of_order"))
    assert locking_indexes(migration_of(added, atomic=atomic)) == locking
    new_table = migrations.CreateModel("Order", [])
    assert locking_indexes(migration_of(new_table, added, atomic=atomic)) == []
