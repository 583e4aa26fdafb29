"""Statements with sample parameters, and the rule that the plan of each keeps.

Each module beside this one has the statements of one area in a table of cases.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from execution.models import Order
from tests.execution.plans.explained import Node, planned
from tests.execution.plans.rules import Rule, check

LANES = ("{}", '{""}', "{sessions.1,mt5.main}")  # no plan may depend on them
PACKAGES = ("analytics", "connections", "events", "execution", "positions", "prices", "signals")


@dataclass(frozen=True)
class Case:
    """A constant with SQL, or a function without parameters that returns it."""

    module: ModuleType
    attribute: str
    parameters: Any  # or a function of the live order
    rule: Rule | None
    is_kept: bool = False  # whether it is a periodic one that a session plans once

    @property
    def name(self) -> str:
        return f"{self.module.__name__}.{self.attribute}"

    @property
    def sql(self) -> str:
        found = getattr(self.module, self.attribute)
        return str(found() if callable(found) else found)

    def values(self, order: Order) -> list[Any]:
        """Return the parameters, with each of the lanes if they are several."""
        found = self.parameters(order) if callable(self.parameters) else self.parameters
        if isinstance(found, Mapping) and isinstance(lanes := found.get("lanes"), tuple):
            return [{**found, "lanes": one} for one in lanes]
        return [found]


Table = Sequence[Case]


def check_plans(table: Table, order: Order) -> None:
    """Plan each statement, and fail if a plan breaks its rule."""
    __tracebackhide__ = True
    check(_plans(table, order))


def _plans(table: Table, order: Order) -> Iterator[tuple[str, Node, Rule]]:
    for case in table:
        for values in case.values(order):
            if case.rule:
                yield f"{case.name} with {values}", planned(case.sql, values), case.rule


def comparable(sql: str) -> str:
    """Return a statement without its parameters' names and its white space."""
    numbered = re.sub(r"%\(\w+\)s|(?<!%)%s|\$\d+", "?", sql).replace("%%", "%")
    return " ".join(numbered.split())


def name_of(sql: str) -> str:
    """Return the name of a statement that a session has prepared, or its beginning."""
    wanted = comparable(sql)
    for module in list(sys.modules.values()):
        if module.__name__.split(".")[0] in PACKAGES:
            for name, value in list(vars(module).items()):
                if name.isupper() and isinstance(value, str) and comparable(value) == wanted:
                    return f"{module.__name__}.{name}"
    return wanted[:120]
