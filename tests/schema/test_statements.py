"""Every SQL statement of the product is understood by the database: its tables and columns exist.

A renamed column is found here, for each statement that a module keeps by name.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator

import psycopg
import pytest
from django.apps import apps
from django.db import connection

STATEMENT = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b")
TEMPLATE = re.compile(r"(?<!\{)\{\w*\}(?!\})")  # filled in where it is used
PLACEHOLDER = re.compile(r"%(?:\((\w+)\))?s|%%")
# What PostgreSQL says where only the missing types of parameters are in the way.
TYPE_UNKNOWN = {"42P18", "42725", "42804", "42883", "42P08", "42846"}
ENTRY_POINTS = {"config.asgi", "config.wsgi"}  # they need servers when they are imported


def modules() -> Iterator[str]:
    packages = {app.name for app in apps.get_app_configs() if "site-packages" not in app.path}
    for package in sorted(packages):
        found = importlib.import_module(package)
        for info in pkgutil.walk_packages(found.__path__, f"{package}."):
            if "migrations" not in info.name and info.name not in ENTRY_POINTS:
                yield info.name


def statements() -> dict[str, str]:
    """Return the statements by module and name; one that several modules import counts once."""
    found: dict[int, tuple[str, str]] = {}
    for module in modules():
        for name, value in vars(importlib.import_module(module)).items():
            for key, text in value.items() if isinstance(value, dict) else [("", value)]:
                if isinstance(text, str) and STATEMENT.match(text) and not TEMPLATE.search(text):
                    found.setdefault(id(text), (f"{module}.{name}{key and f'[{key}]'}", text))
    return dict(found.values())


def with_numbers(sql: str) -> str:
    """Return the statement with PostgreSQL's own placeholders instead of psycopg's."""
    names: dict[str, int] = {}
    count = 0

    def number(match: re.Match[str]) -> str:
        nonlocal count
        if match.group() == "%%":
            return "%"
        name = match.group(1)
        if name in names:
            return f"${names[name]}"
        count += 1
        if name:
            names[name] = count
        return f"${count}"

    return PLACEHOLDER.sub(number, sql)


def is_part(sql: str, found: Iterable[str]) -> bool:
    """Whether other statements contain this one, as they do a WITH that they share."""
    return any(sql in other and sql != other for other in found)


def wrong_with(sql: str) -> str:
    """Have PostgreSQL prepare a statement. Return what it objects to, or nothing."""
    try:
        with connection.connection.transaction(force_rollback=True):
            connection.connection.execute(f"PREPARE one AS {with_numbers(sql)}".encode())
            connection.connection.execute("DEALLOCATE one")  # no transaction undoes a PREPARE
    except psycopg.Error as error:
        return "" if error.sqlstate in TYPE_UNKNOWN else str(error)
    return ""


@pytest.mark.django_db
def test_every_statement_fits_the_schema() -> None:
    connection.ensure_connection()
    found = statements()
    whole = {name: sql for name, sql in found.items() if not is_part(sql, found.values())}
    print(f"{len(whole)} statements, {len(found) - len(whole)} parts of them")
    assert {name: why for name, sql in whole.items() if (why := wrong_with(sql))} == {}


@pytest.mark.django_db
def test_a_renamed_column_is_found() -> None:
    connection.ensure_connection()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE execution_order RENAME COLUMN quantity TO amount")
    assert [name for name, sql in statements().items() if "quantity" in wrong_with(sql)]
