"""Few exception handlers of the product are broad, and each of those states why.

A broad handler also hides bugs. It is right only where anything may come, such as around a
broker's library, and where the code behind it must go on.
"""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
PRODUCT: list[str] = CONTRACTS["root_packages"]
BROAD = {"Exception", "BaseException"}
REASON = "# any: "
MOST = 54  # broad handlers; lower it when one goes


class Handler(NamedTuple):
    """An `except` clause, or a call of `suppress`."""

    place: str
    line: str
    is_broad: bool


@cache
def handlers() -> tuple[Handler, ...]:
    found: list[Handler] = []
    for path in sorted(path for app in PRODUCT for path in (ROOT / app).rglob("*.py")):
        if "migrations" not in path.parts:
            source = path.read_text()
            if "except" in source or "suppress(" in source:  # to parse every file takes seconds
                found += handlers_in(source, str(path.relative_to(ROOT)))
    return tuple(found)


def handlers_in(source: str, name: str) -> Iterator[Handler]:
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        elif isinstance(node, ast.Call) and called(node).endswith("suppress"):
            caught = list(node.args)
        else:
            continue
        is_broad = any(one is None or ast.unparse(one) in BROAD for one in caught)
        yield Handler(f"{name}:{node.lineno}", lines[node.lineno - 1], is_broad)


def called(node: ast.Call) -> str:
    """Return the last part of the name of what is called."""
    named = node.func
    return named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")


def test_broad_handlers_are_found() -> None:
    source = """
try:
    with suppress(Exception, KeyError):
        work()
except (OSError, BaseException):
    pass
except ValueError:
    pass
except:
    pass
"""
    found = [(one.place, one.is_broad) for one in handlers_in(source, "x")]
    assert sorted(found) == [("x:3", True), ("x:5", True), ("x:7", False), ("x:9", True)]


def test_number_of_broad_handlers_only_falls() -> None:
    broad = [one.place for one in handlers() if one.is_broad]
    assert len(broad) <= MOST, broad


def test_each_broad_handler_has_a_reason() -> None:
    assert [one.place for one in handlers() if one.is_broad and REASON not in one.line] == []
