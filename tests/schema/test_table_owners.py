"""Each app owns the SQL on its tables: how often others name them in strings can only fall.

Statements that write a table live in its app, as functions or as named parts that others compose.
Reads may name other apps' tables, up to the ceilings below. If a change needs fewer references,
lower its ceiling; if it needs more, use a fragment of the owner (`joins.py`, `selectors.py`).
"""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from django.apps import apps

ROOT = Path(__file__).parents[2]
NOT_PRODUCT = {"tests", "benchmarks"}  # they may look at any table
WRITE = r"\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE|MERGE\s+INTO)\s+(?:ONLY\s+)?"

# (app, owner of the table): references in strings
CEILINGS = {
    ("alerts", "signals"): 5,  # its trades and addresses are rows of feeds
    ("analytics", "connections"): 8,
    ("analytics", "execution"): 3,
    ("analytics", "positions"): 3,
    ("analytics", "signals"): 1,
    ("common", "connections"): 1,
    ("common", "paper"): 1,
    ("common", "positions"): 1,
    ("connections", "prices"): 1,
    ("console", "alerts"): 2,  # the audit trail names its tables
    ("console", "buses"): 3,  # the audit trail names its tables
    ("console", "common"): 1,  # the audit trail names its tables
    ("console", "connections"): 22,  # the audit trail names its tables
    ("console", "events"): 1,
    ("console", "execution"): 11,
    ("console", "paper"): 1,
    ("console", "positions"): 2,
    ("console", "signals"): 5,  # the audit trail names its tables
    ("console", "users"): 8,  # the audit trail names its tables
    ("demo", "connections"): 2,
    ("demo", "events"): 2,
    ("demo", "execution"): 11,
    ("demo", "positions"): 2,
    ("demo", "signals"): 3,
    ("demo", "users"): 2,
    ("execution", "connections"): 25,
    ("execution", "events"): 3,
    ("execution", "positions"): 42,
    ("execution", "prices"): 5,
    ("execution", "signals"): 13,
    ("ops", "connections"): 8,
    ("ops", "events"): 2,
    ("ops", "execution"): 6,
    ("ops", "prices"): 1,
    ("positions", "prices"): 1,
    ("prices", "connections"): 5,
}


def owners() -> dict[str, str]:
    """Return the app of each table."""
    return {
        model._meta.db_table: config.label
        for config in apps.get_app_configs()
        if "site-packages" not in config.path
        for model in config.get_models(include_auto_created=True)
    }


def app_of(path: str) -> str:
    """Return the app of a source file. The paper broker's tables belong to its package."""
    return "paper" if path.startswith("brokers/paper/") else path.split("/")[0]


def sources() -> Iterator[str]:
    """Return the product's source files, as paths from the root, without migrations."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    for package in set(packages["root_packages"]) - NOT_PRODUCT:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path.relative_to(ROOT).as_posix()


def strings(path: str) -> Iterator[str]:
    """Return the strings of a file, f-strings in pieces. Comments are none."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def foreign(prefix: str = "") -> dict[tuple[str, str], list[str]]:
    """Return, by app and owner, the files that name a table of another app, once for each time."""
    of = owners()
    pattern = re.compile(rf"{prefix}\b({'|'.join(of)})\b")
    found: dict[tuple[str, str], list[str]] = {}
    for path, texts in texts_that_name(tuple(of)):
        app = app_of(path)
        for text in texts:
            for table in pattern.findall(text):
                if of[table] != app:
                    found.setdefault((app, of[table]), []).append(path)
    return found


@cache
def texts_that_name(tables: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    """Return the files that name one of the tables, each with its strings that do."""
    pattern = re.compile(rf"\b(?:{'|'.join(tables)})\b")
    return [
        (path, [text for text in strings(path) if pattern.search(text)])
        for path in sources()
        if pattern.search((ROOT / path).read_text())  # to parse every file takes seconds
    ]


def test_each_table_is_written_by_its_own_app() -> None:
    assert foreign(WRITE) == {}


def test_references_to_other_apps_tables_only_fall() -> None:
    found = foreign()
    more = {
        pair: Counter(paths) for pair, paths in found.items() if len(paths) > CEILINGS.get(pair, 0)
    }
    total = sum(map(len, found.values()))
    print(f"{total} references to other apps' tables: { {k: len(v) for k, v in found.items()} }")
    assert more == {}


def test_foreign_write_is_found() -> None:
    statement = "WITH x AS (\n  UPDATE positions_executionposition p SET quantity = 0)"
    assert re.search(rf"{WRITE}\b(positions_executionposition)\b", statement)
    assert not re.search(rf"{WRITE}\b(positions_executionposition)\b", statement.replace("UP", "X"))
