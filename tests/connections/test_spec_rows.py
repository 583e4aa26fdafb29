"""Connection specs come from rows of many statements; each selects all columns."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from connections.selectors import SPEC_COLUMNS, spec_from_row

ROOT = Path(__file__).resolve().parents[2]
APPS = (
    "analytics", "api", "config", "conformance", "connections", "console", "demo", "execution",
    "ops", "portal", "positions", "prices",
)  # fmt: skip
NAMED = re.compile(r"\b\w+\.(exchange_name|settings|identity|identity_credentials_digest)\b(?! ->)")
BUILT_OF_IT = 10  # statements, at least: else this test looks where there are none


class Asked:
    """A row that notes what is read of it."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.names.add(name)
        return {"connection_id": UUID(int=1), "sealed_credentials": None}.get(name, "x")


@pytest.mark.django_db
def test_spec_columns_match_columns_read() -> None:
    row = Asked()
    spec_from_row(row)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {SPEC_COLUMNS} FROM connections_executionconnection c LIMIT 0")
        selected = {column.name for column in cursor.description}
    assert row.names - {"connection_id"} | {"type"} == selected


def texts() -> Iterator[tuple[str, ast.AST]]:
    """Every text that may be such a statement, with its place, f-strings as one and in parts."""
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            if "migrations" in path.parts:
                continue
            source = path.read_text()
            if "_COLUMNS" not in source and "c.account" not in source:
                continue  # to parse every file takes seconds
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Constant | ast.JoinedStr):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_statements_use_shared_spec_columns() -> None:
    """Such a statement would lack the next column that adapters need."""
    forgetful, built = [], 0
    for place, node in texts():
        if isinstance(node, ast.JoinedStr):
            held = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
            built += bool(held & {"SPEC_COLUMNS", "READ_COLUMNS"})
        elif isinstance(node.value, str) and node.value != SPEC_COLUMNS:  # type: ignore[attr-defined]
            text: str = node.value  # type: ignore[attr-defined]
            if NAMED.search(text) and "c.account" in text:
                forgetful.append(place)
    assert forgetful == []
    assert built >= BUILT_OF_IT
