"""Every SQL statement of the product is understood by the database: its tables and columns exist.

A renamed column is found here, for each statement that a module keeps by name. A `Query` states
the type of its rows as well: its fields are compared with the columns, by name and by type.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import psycopg
import pytest
from django.apps import apps
from django.db import connection

from common.db.sql import Query, rows

STATEMENT = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b")
TEMPLATE = re.compile(r"(?<!\{)\{\w*\}(?!\})")  # filled in where it is used
PLACEHOLDER = re.compile(r"%(?:\((\w+)\))?s|%%")
# What PostgreSQL reports where only the missing types of parameters are in the way.
TYPE_UNKNOWN = {"42P18", "42725", "42804", "42883", "42P08", "42846"}
# PostgreSQL's types for those of Python, by what psycopg and `common.db.sql.rows` return.
TYPES = {
    "int": {"int2", "int4", "int8"},
    "Decimal": {"numeric"},
    "float": {"float4", "float8"},
    "str": {"text", "varchar", "bpchar"},
    "bool": {"bool"},
    "datetime": {"timestamptz"},
    "time": {"time"},
    "date": {"date"},
    "timedelta": {"interval"},
    "UUID": {"uuid"},
    "dict": {"jsonb"},
    "list": {"jsonb"},
    "bytes": {"bytea"},
}
ENTRY_POINTS = {"config.asgi"}  # it needs servers when it is imported


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
                if isinstance(text, str) and is_statement(text):
                    found.setdefault(id(text), (f"{module}.{name}{key and f'[{key}]'}", text))
    return dict(found.values())


def is_statement(text: str) -> bool:
    """Whether a text can be run as it is. A `Query` can, even if it writes the JSON '{}'."""
    return isinstance(text, Query) or bool(STATEMENT.match(text) and not TEMPLATE.search(text))


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


def columns_of(query: Query[Any]) -> list[tuple[str, str]]:
    """Return the names and PostgreSQL's types of the columns that a statement returns."""
    raw = connection.connection.pgconn
    with connection.connection.transaction(force_rollback=True):
        prepared = raw.prepare(b"", with_numbers(query).encode())
        if prepared.status != psycopg.pq.ExecStatus.COMMAND_OK:
            raise AssertionError(f"cannot be prepared: {prepared.error_message.decode()}")
        result = raw.describe_prepared(b"")
    types = connection.connection.adapters.types
    return [
        ((result.fname(i) or b"").decode(), type_name(types, result.ftype(i)))
        for i in range(result.nfields)
    ]


def type_name(types: psycopg.types.TypesRegistry, oid: int) -> str:
    info = types.get(oid)
    name = info.name if info is not None else str(oid)
    return f"{name}[]" if info is not None and info.array_oid == oid else name


def is_of_type(annotation: Any, column_type: str) -> bool:
    """Whether a column's values are what a field's annotation allows; any of them may be None."""
    options = [one for one in get_args(annotation) or (annotation,) if one is not type(None)]
    if get_origin(annotation) in (list, dict):
        options = [annotation]
    return any(
        option is Any
        or (
            is_of_type(get_args(option)[0], column_type[:-2])
            if column_type.endswith("[]") and get_origin(option) is list
            else column_type in TYPES.get((get_origin(option) or option).__name__, ())
        )
        for option in options
    )


def mismatch(query: Query[Any]) -> str:
    """Return how the columns of a statement differ from the fields of its rows, or nothing."""
    try:
        found = columns_of(query)
    except AssertionError as error:
        return str(error)
    fields = get_type_hints(query.row_type)
    names, expected = [name for name, _ in found], list(fields)
    if is_dataclass(query.row_type):  # in any order
        names, expected = sorted(names), sorted(expected)
    if names != expected:
        return f"columns {names}, fields {expected}"
    return ", ".join(
        f"{name} is {column_type}, not {fields[name]}"
        for name, column_type in found
        if not is_of_type(fields[name], column_type)
    )


@pytest.mark.django_db
def test_rows_have_the_fields_of_their_type() -> None:
    connection.ensure_connection()
    typed = {name: sql for name, sql in statements().items() if isinstance(sql, Query)}
    print(f"{len(typed)} statements with typed rows")
    assert {name: why for name, query in typed.items() if (why := mismatch(query))} == {}


class Example(NamedTuple):
    id: int
    symbol: str
    levels: list[str]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("1 AS id, 'EURUSD' AS symbol, '{}'::text[] AS levels", ""),
        ("1 AS id, 'EURUSD' AS pair, '{}'::text[] AS levels", "columns ['id', 'pair', 'levels']"),
        ("'EURUSD' AS symbol, 1 AS id, '{}'::text[] AS levels", "columns ['symbol', 'id', 'lev"),
        ("1.5 AS id, 'EURUSD' AS symbol, '{}'::text[] AS levels", "id is numeric, not <class"),
        ("1 AS id, 'EURUSD' AS symbol, '{}'::int[] AS levels", "levels is int4[], not list[str]"),
    ],
)
def test_column_that_differs_from_the_field_is_found(columns: str, expected: str) -> None:
    connection.ensure_connection()
    assert mismatch(Query(Example, f"SELECT {columns}"))[: len(expected or "-")] == expected


@pytest.mark.django_db
def test_rows_of_a_query_have_its_type() -> None:
    found = rows(
        Query(Example, "SELECT %s AS id, 'EURUSD' AS symbol, '{a}'::text[] AS levels"), (7,)
    )
    assert found == [Example(7, "EURUSD", ["a"])]
    assert type(found[0]) is Example


@dataclass(frozen=True, slots=True)
class BaseExample:
    symbol: str


@dataclass(frozen=True, slots=True)
class DerivedExample(BaseExample):
    id: int


@pytest.mark.django_db
def test_dataclass_rows_are_read_by_name() -> None:
    connection.ensure_connection()
    query = Query(DerivedExample, "SELECT 7 AS id, 'EURUSD' AS symbol")
    assert mismatch(query) == ""
    assert rows(query) == [DerivedExample(symbol="EURUSD", id=7)]
    other = Query(DerivedExample, "SELECT 7 AS id, 'EURUSD' AS pair")
    assert mismatch(other).startswith("columns ['id', 'pair']")
    with pytest.raises(TypeError, match="DerivedExample has the fields"):
        rows(other)


@pytest.mark.django_db
def test_rows_with_columns_in_another_order_are_refused() -> None:
    with pytest.raises(TypeError, match="Example has the fields"):
        rows(Query(Example, "SELECT 'EURUSD' AS symbol, 7 AS id, '{a}'::text[] AS levels"))


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
