"""A stage for each kind of broker: `<kind>.py` has STAGES, which says by name how one is opened."""

import importlib
import pkgutil
from collections.abc import Mapping

from brokers.conformance.run import Open


def kinds() -> list[str]:
    """The kinds of broker that have a stage."""
    return sorted(one.name for one in pkgutil.iter_modules(__path__))


def stages_of(kind: str) -> Mapping[str, Open]:
    """The stages of a kind, by their names. Raises ImportError where its library is missing."""
    found: Mapping[str, Open] = importlib.import_module(f"{__name__}.{kind}").STAGES
    return found


def needs_database(kind: str) -> bool:
    """Whether the kind's broker has its books in this installation's own database."""
    return kind == "paper"
