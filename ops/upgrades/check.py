"""Which migrations an upgrade without a gap cannot have."""

from collections.abc import Mapping

from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

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


def migration_faults(migration: object, state: ProjectState, released: Released) -> list[str]:
    """Return a line for each fault of a migration; `state` follows its operations."""
    app, operations = migration.app_label, migration.operations  # type: ignore[attr-defined]
    accepted: Mapping[str, str] = getattr(migration, ACCEPTS, {})
    faults = sequence_faults(app, operations, state, released)
    lines = [
        f"{migration}: {fault.key}: {fault.sentence}"
        for fault in dict.fromkeys(faults)
        if fault.breaks or not accepted.get(fault.key, "").strip()
    ]
    unused = accepted.keys() - {fault.key for fault in faults}
    return lines + [f"{migration}: {key}: is accepted, but no fault" for key in sorted(unused)]
