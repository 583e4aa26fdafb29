"""A stage for each kind of broker: `<kind>.py` here, or what a package brings.

A package names the module of its stages by the entry point group `fillcast.conformance`. Either
has STAGES, which says by name how a stage is opened. The example's package is always there.
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
"""Kinds whose broker has its books in this installation's own database, and their stages."""


def kinds() -> list[str]:
    """The kinds of broker that have a stage."""
    return sorted({*_own(), *_brought()})


def stages_of(kind: str) -> Mapping[str, OpenHarness]:
    """The stages of a kind, by their names. Raises ImportError where its library is missing."""
    found: Mapping[str, OpenHarness] = importlib.import_module(_module(kind)).STAGES
    return found


def at_once(kind: str) -> int:
    """How many of a kind's stages may be open at the same time: AT_ONCE of its module, else one."""
    found: int = getattr(importlib.import_module(_module(kind)), "AT_ONCE", 1)
    return found


def named(word: str) -> list[tuple[str, str]]:
    """What a word means, as kind and stage: all stages of a kind, or the one that is called so.

    Raises KeyError with what it may be.
    """
    if word in kinds():
        return [(word, name) for name in names_of(word)]
    every = [(kind, name) for kind in kinds() for name in names_of(kind)]
    if found := [one for one in every if one[1] == word]:
        return found
    raise KeyError(", ".join(sorted({word for one in every for word in one})))


def names_of(kind: str) -> tuple[str, ...]:
    """How the stages of a kind are called, also before there is a database."""
    return IN_OUR_DATABASE.get(kind) or tuple(stages_of(kind))


def needs_database(kind: str) -> bool:
    """Whether the kind's broker has its books in this installation's own database."""
    return kind in IN_OUR_DATABASE


def reviewed_in(kind: str) -> Path:
    """The file that says what does not apply to a kind's stages: ours, or beside a package's."""
    if kind in _own():
        return OURS
    module = find_spec(_module(kind))
    if module is None or module.origin is None:
        raise ModuleNotFoundError(_module(kind))
    return Path(module.origin).with_name("reviewed.json")


def _own() -> set[str]:
    return {one.name for one in pkgutil.iter_modules(__path__)}


def _brought() -> dict[str, EntryPoint]:
    """By kind, what packages bring: those that are installed, and the example."""
    said = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]
    example = [EntryPoint(name, module, GROUP) for name, module in said[GROUP].items()]
    return {point.name: point for point in (*example, *entry_points(group=GROUP))}


def _module(kind: str) -> str:
    return f"{__name__}.{kind}" if kind in _own() else _brought()[kind].value


sys.path.append(str(EXAMPLE))  # last: an installed one comes first; as no distribution, no kind
