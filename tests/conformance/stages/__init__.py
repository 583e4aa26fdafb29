"""The stages of each broker type: `<type>.py` here, or a module of a package.

A package names its module in the entry point group `fillcast.conformance`. Each module has STAGES,
the functions that open its stages, by name. The example's package is always included.
"""

import importlib
import pkgutil
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from conformance.runner import OpenHarness

GROUP = "fillcast.conformance"
EXAMPLE = Path(__file__).parents[3] / "examples" / "tiny-broker"
OURS = Path(__file__).parents[1] / "reviewed.json"
IN_OUR_DATABASE = {"paper": ("paper", "paper by TCP", "paper netting")}
"""Broker types whose books are in this installation's database, and their stages."""


def kinds() -> list[str]:
    """Return the broker types that have a stage."""
    return sorted({*_built_in(), *_from_packages()})


def stages_of(kind: str) -> Mapping[str, OpenHarness]:
    """Return the stages of a broker type, by name. Raises ImportError if its library is missing."""
    result: Mapping[str, OpenHarness] = importlib.import_module(_module(kind)).STAGES
    return result


def at_once(kind: str) -> int:
    """Return how many stages of a type may be open at once (MAX_CONCURRENT, default 1)."""
    result: int = getattr(importlib.import_module(_module(kind)), "MAX_CONCURRENT", 1)
    return result


def stages_named(name: str) -> list[tuple[str, str]]:
    """Return the stages of a broker type, or the one stage with this name, as (type, stage).

    Raises KeyError with the possible names.
    """
    if name in kinds():
        return [(name, stage_name) for stage_name in names_of(name)]
    all_stages = [(kind, stage_name) for kind in kinds() for stage_name in names_of(kind)]
    if matches := [stage for stage in all_stages if stage[1] == name]:
        return matches
    raise KeyError(", ".join(sorted({name for stage in all_stages for name in stage})))


def names_of(kind: str) -> tuple[str, ...]:
    """Return the names of a type's stages; needs no database."""
    return IN_OUR_DATABASE.get(kind) or tuple(stages_of(kind))


def needs_database(kind: str) -> bool:
    """Whether the broker's books are in this installation's database."""
    return kind in IN_OUR_DATABASE


def reviewed_in(kind: str) -> Path:
    """Return the file with the reviewed reasons of a type: ours, or beside a package's module."""
    if kind in _built_in():
        return OURS
    module = find_spec(_module(kind))
    if module is None or module.origin is None:
        raise ModuleNotFoundError(_module(kind))
    return Path(module.origin).with_name("reviewed.json")


def _built_in() -> set[str]:
    return {stage.name for stage in pkgutil.iter_modules(__path__)}


def _from_packages() -> dict[str, EntryPoint]:
    """Return the entry points of installed packages and of the example, by broker type."""
    groups = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]
    example = [EntryPoint(name, module, GROUP) for name, module in groups[GROUP].items()]
    return {point.name: point for point in (*example, *entry_points(group=GROUP))}


def _module(kind: str) -> str:
    return f"{__name__}.{kind}" if kind in _built_in() else _from_packages()[kind].value


sys.path.append(str(EXAMPLE))  # last: an installed package comes first
