"""Which migrations the last release has: what came later is checked against its models."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ModelState, ProjectState

from config.installation import ROOT

FILE = Path(__file__).with_name("released.json")
OURS = frozenset(path.parent.parent.name for path in ROOT.glob("*/migrations/__init__.py"))


@dataclass(frozen=True)
class Released:
    """The schema that the released code expects. migrations: the last one of each app."""

    migrations: Mapping[str, str]
    state: ProjectState

    def model(self, app: str, name: str) -> ModelState | None:
        """Return a model of the release; None if it is newer."""
        found: ModelState | None = self.state.models.get((app, name.lower()))
        return found

    @cached_property
    def columns(self) -> Mapping[str, frozenset[str]]:
        """Return the columns of each table of the release."""
        models: list[Any] = self.state.apps.get_models(include_auto_created=True)
        return {
            model._meta.db_table: frozenset(field.column for field in model._meta.local_fields)
            for model in models
        }


def read_released(loader: MigrationLoader, path: Path = FILE) -> Released:
    """Return the last release. Raises ValueError if it names a migration that does not exist."""
    migrations: dict[str, str] = json.loads(path.read_text())
    missing = [node for node in migrations.items() if node not in loader.graph.nodes]
    if missing:
        raise ValueError(f"{path.name} names migrations that do not exist: {missing}")
    nodes = [*migrations.items(), *(n for n in loader.graph.leaf_nodes() if n[0] not in OURS)]
    return Released(migrations, loader.project_state(nodes))


def write_released(loader: MigrationLoader, path: Path = FILE) -> None:
    """Store that what there is now is released."""
    leaves = {app: name for app, name in sorted(loader.graph.leaf_nodes()) if app in OURS}
    path.write_text(json.dumps(leaves, indent=2) + "\n")


def later_than(released: Released, loader: MigrationLoader) -> list[tuple[str, str]]:
    """Return our migrations that are not released yet, in the order in which they run."""
    have = {
        node for leaf in released.migrations.items() for node in loader.graph.forwards_plan(leaf)
    }
    plan = [
        node
        for leaf in sorted(loader.graph.leaf_nodes())
        if leaf[0] in OURS
        for node in loader.graph.forwards_plan(leaf)
    ]
    return [node for node in dict.fromkeys(plan) if node[0] in OURS and node not in have]
