"""Which migrations an upgrade without a gap cannot have."""

from collections.abc import Mapping
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.fields import AlterField, FieldOperation
from django.db.migrations.operations.models import IndexOperation
from django.db.migrations.state import ProjectState

from ops.upgrades.faults import Fault
from ops.upgrades.operations import sequence_faults
from ops.upgrades.released import Released, later_than

ACCEPTS = "safe_beside_released_code"
"""The attribute of a migration that accepts faults: {key: reason}."""


def find_faults(loader: MigrationLoader, released: Released) -> list[str]:
    """Return a line for each fault of a migration that is not released yet."""
    state = released.state.clone()
    lines = []
    for node in later_than(released, loader):
        lines += migration_faults(loader.graph.nodes[node], state, released)
    return lines


def migration_faults(migration: Migration, state: ProjectState, released: Released) -> list[str]:
    """Return a line for each fault of a migration; `state` follows its operations."""
    app, operations = migration.app_label, migration.operations
    accepted: Mapping[str, str] = getattr(migration, ACCEPTS, {})
    faults = transaction_faults(migration, state, released) + sequence_faults(
        app, operations, state, released
    )
    lines = [
        f"{migration}: {fault.key}: {fault.sentence}"
        for fault in dict.fromkeys(faults)
        if fault.breaks or not accepted.get(fault.key, "").strip()
    ]
    unused = accepted.keys() - {fault.key for fault in faults}
    return lines + [f"{migration}: {key}: is accepted, but no fault" for key in sorted(unused)]


def transaction_faults(
    migration: Migration, state: ProjectState, released: Released
) -> list[Fault]:
    """Return a fault if one transaction would hold several tables' locks."""
    changed = {
        name.lower()
        for operation in migration.operations
        if isinstance(operation, FieldOperation | IndexOperation)
        and not is_for_django_only(migration.app_label, operation, state)
        and (name := getattr(operation, "model_name", ""))
        and released.model(migration.app_label, name)
    }
    if not migration.atomic or len(changed) < 2:
        return []
    sentence = (
        "one transaction locks them all, in another order than the released code, until its end:"
        " set atomic = False, or make a migration for each table"
    )
    return [Fault(" ".join(["atomic", *sorted(changed)]), sentence)]


def is_for_django_only(app: str, operation: Operation, state: ProjectState) -> bool:
    """Return whether an operation changes only what no database knows, such as choices."""
    if not isinstance(operation, AlterField):
        return False
    model = state.models.get((app, operation.model_name_lower))
    old = model.fields.get(operation.name) if model else None
    return old is not None and _in_database(old) == _in_database(operation.field)


def _in_database(field: Any) -> object:
    _, path, arguments, options = field.deconstruct()
    return path, arguments, {n: v for n, v in options.items() if n not in field.non_db_attrs}
