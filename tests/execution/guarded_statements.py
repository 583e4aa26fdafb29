"""Which statements write rows that are guarded, and which of them the tables of guards name."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLES = (
    "execution_order", "execution_entrychange", "execution_ordertrigger", "execution_driftitem",
    "positions_executionposition",
)  # fmt: skip
"""Rows that several parties write: the engine, the broker's reports, and their owner."""
_UPDATES = re.compile(rf"\bUPDATE (?:{'|'.join(TABLES)})\b")


@dataclass(frozen=True)
class Symbol:
    """A constant or function of a module. writes: it is a constant that writes a guarded row.

    uses: the constants and functions of the product that its source names.
    """

    is_function: bool
    writes: bool
    uses: frozenset[str] = field(default_factory=frozenset)


def guarded() -> set[str]:
    """Return the constants that write guarded rows, as `module.NAME`."""
    return {name for name, symbol in _product().items() if symbol.writes}


def named() -> set[str]:
    """Return what the tables name: by the constant itself, by one that is composed of it, or by the
    function that runs it."""
    found: set[str] = set()
    for path in sorted((ROOT / "tests" / "execution").glob("test_guards_of_*.py")):
        found |= _uses(ast.parse(path.read_text()), path.read_text(), "")
    product, reached = _product(), set[str]()
    ahead = [*found & product.keys()]
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            is_table_s = name in found
            ahead += [
                other
                for other in product[name].uses & product.keys()
                if not product[other].is_function and (is_table_s or not product[name].is_function)
            ]
    return reached


@cache
def _product() -> dict[str, Symbol]:
    found: dict[str, Symbol] = {}
    for folder in ("execution", "positions"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" not in path.parts:
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found.update(_symbols(module, path.read_text()))
    return found


def _symbols(module: str, source: str) -> Iterator[tuple[str, Symbol]]:
    tree = ast.parse(source)
    own = {name for node in tree.body for name in _names(node)}
    imported = _imported(tree)
    for node in tree.body:
        is_function = isinstance(node, ast.FunctionDef)
        writes = not is_function and bool(_UPDATES.search(_texts(node)))
        used = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
        uses = {f"{module}.{name}" for name in used & own}
        uses |= {imported[name] for name in used & imported.keys()} | _attributes(node, imported)
        for name in _names(node):
            yield f"{module}.{name}", Symbol(is_function, writes, frozenset(uses))


def _names(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _texts(node: ast.stmt) -> str:
    return " ".join(
        one.value
        for one in ast.walk(node)
        if isinstance(one, ast.Constant) and isinstance(one.value, str)
    )


def _uses(tree: ast.Module, source: str, module: str) -> set[str]:
    imported = _imported(tree)
    return {*imported.values()} | _attributes(tree, imported)


def _imported(tree: ast.Module) -> dict[str, str]:
    return {
        one.asname or one.name: f"{node.module}.{one.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for one in node.names
    }


def _attributes(tree: ast.AST, imported: dict[str, str]) -> set[str]:
    """Return `module.NAME` for each attribute of an imported module."""
    return {
        f"{imported[one.value.id]}.{one.attr}"
        for one in ast.walk(tree)
        if isinstance(one, ast.Attribute)
        and isinstance(one.value, ast.Name)
        and one.value.id in imported
    }
