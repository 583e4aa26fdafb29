"""Set-based SQL next to the ORM: the same connection and transaction, server-side parameters.

Django's cursor interpolates parameters on the client; for arrays of thousands that is slower, and
it cannot prepare. These helpers open a plain psycopg cursor on Django's own connection, so what
they do is part of the surrounding `transaction.atomic()`. Outside of one, statements that are
repeated may have a session of their own.
"""

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_type_hints, overload
from uuid import UUID

import orjson
import psycopg
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import DatabaseErrorWrapper
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.rows import RowFactory, RowMaker, namedtuple_row

from common.db.direct_sessions import is_pooled

# psycopg's own, which is compiled. Django's is Python and takes ten times as long for the same
# value, since every session has UTC.
_TIMES: Any = psycopg.adapters.get_loader(psycopg.adapters.types["timestamptz"].oid, Format.TEXT)


class _JsonbLoader(Loader):
    """jsonb as Python values, by the fast parser: a claim reads thousands of small documents."""

    def load(self, data: Any) -> Any:
        return orjson.loads(bytes(data))


Params = Sequence[Any] | Mapping[str, Any] | None
Row = TypeVar("Row")


class Query(str, Generic[Row]):
    """A statement together with the type of its rows, for which `rows` returns them.

    row_type: a NamedTuple with the statement's columns in their order, or a dataclass with the
    columns in any order, which can inherit fields. tests/schema compares the names and the types of
    those that a module keeps by name; `rows` compares the names each time.

    >>> Query(Account, "SELECT id, equity FROM account WHERE id = ANY(%s::bigint[])")
    """

    row_type: type[Row]
    row_factory: "RowFactory[Row]"

    def __new__(cls, row_type: type[Row], sql: str) -> "Query[Row]":
        query = super().__new__(cls, sql)
        query.row_type = row_type
        query.row_factory = _typed_row(row_type)
        return query


class NowRow(NamedTuple):
    """The database's clock."""

    now: datetime


class IdRow(NamedTuple):
    """A row of a statement that returns ids only."""

    id: int


@overload
def rows(
    sql: Query[Row], params: Params = None, *, using: str = ..., planned_once: bool = ...
) -> list[Row]: ...
@overload
def rows(
    sql: str, params: Params = None, *, using: str = ..., planned_once: bool = ...
) -> list[Any]: ...
def rows(
    sql: str, params: Params = None, *, using: str = DEFAULT_DB_ALIAS, planned_once: bool = False
) -> list[Any]:
    """Run one statement and return its rows, [] for one that returns none.

    Those of a `Query` have its type; those of a plain string are named tuples that mypy knows
    nothing about.

    planned_once: inside `kept_plans` the session keeps its plan, whatever the parameters are;
    elsewhere, and with a transaction pooler, this has no effect. For a statement that finds all of
    its rows by index and is run for each bundle: planning it costs as much as what it does, or
    several times that.

    Raises Django's database errors (OperationalError, IntegrityError, …), as the ORM does, and
    TypeError if the columns are not the fields of the `Query`'s type.
    """
    connection = connections[using]
    connection.ensure_connection()
    with DatabaseErrorWrapper(connection), _rows_cursor(connection.connection) as cursor:
        is_kept = planned_once and _keeps_plans.get() == using
        cursor.execute(sql, params, prepare=True if is_kept else None)
        return _fetched(cursor, sql)


def _rows_cursor(raw: psycopg.Connection[Any]) -> psycopg.Cursor[Any]:
    cursor = psycopg.Cursor(raw)
    cursor.adapters.register_loader("jsonb", _JsonbLoader)  # Django's own leaves text
    cursor.adapters.register_loader("timestamptz", _TIMES)
    return cursor


def _fetched(cursor: psycopg.Cursor[Any], sql: str) -> list[Any]:
    if cursor.description is None:
        return []
    # Not before: an error of the factory in the middle of a pipeline would break the session.
    cursor.row_factory = sql.row_factory if isinstance(sql, Query) else namedtuple_row
    return cursor.fetchall()


def _typed_row(row_type: type[Any]) -> RowFactory[Any]:
    """Return psycopg's row factory for a NamedTuple or a dataclass, once the names agree."""
    if is_dataclass(row_type):
        return _dataclass_row(row_type)
    names = [name.encode() for name in row_type._fields]
    make: RowMaker[Any] = row_type._make

    def factory(cursor: Any) -> RowMaker[Any]:
        if (found := _column_names(cursor)) and found != names:
            raise TypeError(f"{row_type.__name__} has the fields {names}, not {found}")
        return make

    return factory


def _dataclass_row(row_type: type[Any]) -> RowFactory[Any]:
    names = [field.name.encode() for field in fields(row_type)]

    def factory(cursor: Any) -> RowMaker[Any]:
        found = _column_names(cursor)
        if found and sorted(found) != sorted(names):
            raise TypeError(f"{row_type.__name__} has the fields {names}, not {found}")
        positions = [found.index(name) for name in names] if found else []
        return lambda values: row_type(*[values[i] for i in positions])

    return factory


def _column_names(cursor: Any) -> list[bytes]:
    """Return the names of the columns, [] for a statement that returns none."""
    result = cursor.pgresult
    return [] if result is None else [result.fname(i) for i in range(result.nfields)]


@contextlib.contextmanager
def kept_plans(*, reading: str = "", using: str = DEFAULT_DB_ALIAS) -> Iterator[Any]:
    """Let the statements with `planned_once` keep their plans. Enter it in a transaction.

    reading: columns that the statement which sets this also reads, which costs no exchange. Its
    row is what is entered.

    Meanwhile no plan scans a whole table if there is an index: a kept plan may have been made when
    the table was empty. Leave it at the end of the transaction or of a savepoint. Inside another
    one it sends nothing, unless it reads.

    Raises RuntimeError outside of a transaction.
    """
    connection = connections[using]
    if not connection.in_atomic_block:
        raise RuntimeError("enter kept_plans inside a transaction")
    if not reading and _keeps_plans.get() == using:
        yield None
        return
    _allow_prepared(connection)
    sql = f"{_KEEP_PLANS}, {reading}" if reading else _KEEP_PLANS
    outer = _keeps_plans.set(using)
    try:
        (read,) = rows(sql, using=using, planned_once=True)
        yield read
    finally:
        _keeps_plans.reset(outer)
    # At the end of the transaction these settings end too.
    if connection.savepoint_ids and _keeps_plans.get() != using:
        run(_PLAN_AS_USUAL, using=using)


def _allow_prepared(connection: BaseDatabaseWrapper) -> None:
    raw = connection.connection
    # Django's default: nothing can be prepared. A pooler would run it in another session.
    if raw.prepare_threshold is None and not is_pooled(connection.alias):
        raw.prepare_threshold = sys.maxsize  # prepare only what passes prepare=True
        raw.prepared_max = PREPARED_MAX


# One plan for all parameters, which an index answers, even if it is made while the table is empty.
# To start JIT or a parallel worker takes longer than that.
PLAN_SETTINGS = {
    "plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off",
    "max_parallel_workers_per_gather": "0",
}  # fmt: skip
PREPARED_MAX = 400  # statements of a session: a thread runs many jobs
_keeps_plans: ContextVar[str] = ContextVar("keeps_plans", default="")  # the database's alias
_KEEP_PLANS = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true) AS {name}" for name, value in PLAN_SETTINGS.items()
)
_PLAN_AS_USUAL = "; ".join(f"SET LOCAL {name} TO DEFAULT" for name in PLAN_SETTINGS)


def run(
    sql: str,
    params: Params = None,
    *,
    using: str = DEFAULT_DB_ALIAS,
    planned_once: bool = False,
) -> int:
    """Run one statement and return how many rows it touched. planned_once: as for `rows`."""
    connection = connections[using]
    connection.ensure_connection()
    with DatabaseErrorWrapper(connection), psycopg.Cursor(connection.connection) as cursor:
        is_kept = planned_once and _keeps_plans.get() == using
        cursor.execute(sql, params, prepare=True if is_kept else None)
        return cursor.rowcount


@overload
def periodic_rows(sql: Query[Row], params: Params = None) -> list[Row]: ...
@overload
def periodic_rows(sql: str, params: Params = None) -> list[Any]: ...
def periodic_rows(sql: str, params: Params = None) -> list[Any]:
    """Run one statement that is run every second or oftener, in a transaction; return its rows.

    The session keeps its plan. Most of these find nothing: planning would be all that they cost.
    Outside of a transaction the settings for it are sent together with the statement, and are
    answered together: on a busy machine each answer that is waited for takes longer than the
    statement.
    """
    if _keeps_plans.get() == DEFAULT_DB_ALIAS:
        return rows(sql, params, planned_once=True)
    if connections[DEFAULT_DB_ALIAS].in_atomic_block:
        with transaction.atomic(), kept_plans():
            return rows(sql, params, planned_once=True)
    return _fetched(_in_one_exchange(sql, params), sql)


def periodic_run(sql: str, params: Params = None) -> int:
    """Run such a statement, as `periodic_rows`, and return how many rows it touched."""
    if _keeps_plans.get() == DEFAULT_DB_ALIAS:
        return run(sql, params, planned_once=True)
    if connections[DEFAULT_DB_ALIAS].in_atomic_block:
        with transaction.atomic(), kept_plans():
            return run(sql, params, planned_once=True)
    return _in_one_exchange(sql, params).rowcount


def _in_one_exchange(sql: str, params: Params) -> psycopg.Cursor[Any]:
    """Run one statement with a kept plan. The server makes a pipeline one transaction."""
    return _exchanged([(_KEEP_PLANS, None), (sql, params)])[-1]


def exchange(statements: Sequence[tuple[str, Params]]) -> list[list[Any]]:
    """Run statements in one exchange with the server; return the rows of each, as `rows` does.

    The session keeps them prepared. After an error none of the later ones has run. On a busy
    machine each answer that is waited for takes longer than its statement.
    """
    if not statements:
        return []
    cursors = _exchanged(statements)
    return [_fetched(cursor, sql) for cursor, (sql, _) in zip(cursors, statements, strict=True)]


def _exchanged(statements: Sequence[tuple[str, Params]]) -> list[psycopg.Cursor[Any]]:
    connection = connections[DEFAULT_DB_ALIAS]
    connection.ensure_connection()
    raw = connection.connection
    _allow_prepared(connection)
    with DatabaseErrorWrapper(connection):
        cursors = [_rows_cursor(raw) for _ in statements]
        # To begin and end a pipeline takes longer than to send one statement.
        with raw.pipeline() if len(statements) > 1 else contextlib.nullcontext():
            for cursor, (sql, params) in zip(cursors, statements, strict=True):
                cursor.execute(sql, params, prepare=True)
    return cursors


_NOW = Query(NowRow, "SELECT clock_timestamp() AS now")


def database_now() -> datetime:
    """Return the database's clock: machine time, the same for the processes of all hosts."""
    return rows(_NOW)[0].now


def positional(sql: str, parameters: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return SQL with named parameters, and its parameters, as Django's `RawSQL` takes them."""
    names = _NAMED.findall(sql)
    return _NAMED.sub("%s", sql), [parameters[name] for name in names]


_NAMED = re.compile(r"%\((\w+)\)s")


def columns(records: Sequence[Sequence[Any]], width: int) -> list[str]:
    """Turn records into the `width` arrays that `unnest(%s::type[], …)` takes.

    As array literals: for thousands of values that is several times faster than letting the driver
    quote one after the other.
    """
    return [array(column) for column in zip(*records, strict=True)] or ["{}"] * width


def records_sql(record_type: type[Any]) -> str:
    """Return SQL that reads records of a NamedTuple, by its fields' names: `SELECT * FROM {sql} t`.

    `record_arrays` makes its parameters. The fields are int, str, Decimal, bool, float or datetime,
    or one of them or None. Raises TypeError for other fields.
    """
    arrays = ", ".join(
        f"%({name})s::{_array_type(hint)}[]" for name, hint in get_type_hints(record_type).items()
    )
    return f"unnest({arrays}) AS t({', '.join(record_type._fields)})"


def record_arrays(record_type: type[Any], records: Sequence[Sequence[Any]]) -> dict[str, str]:
    """Return the parameters of `records_sql`: an array of each field's values, by its name."""
    names = record_type._fields
    return dict(zip(names, columns(records, len(names)), strict=True))


def _array_type(hint: Any) -> str:
    """Return the column type of a field."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    found = [_COLUMN_TYPES.get(kind) for kind in kinds if kind is not NoneType]
    if len(found) != 1 or found[0] is None:
        raise TypeError(f"records have no array of {hint}")
    return found[0]


_COLUMN_TYPES = {
    int: "bigint", str: "text", Decimal: "numeric", bool: "boolean", float: "float8",
    datetime: "timestamptz",
}  # fmt: skip


def array(values: Iterable[Any]) -> str:
    """Return PostgreSQL's array literal of texts, numbers, booleans, times, UUIDs and None.

    A column is of one kind, so most of it is written by one comprehension; None among texts and
    texts that need escaping go the long way.
    """
    listed = list(values)
    kinds = set(map(type, listed))
    if kinds == _NONE:
        return "{" + ",".join(["NULL"] * len(listed)) + "}"
    has_none = NoneType in kinds
    if len(kinds) == 1 + has_none:
        (kind,) = kinds - _NONE
        if kind in _PLAIN and has_none:
            return "{" + ",".join(["NULL" if v is None else str(v) for v in listed]) + "}"
        if kind in _PLAIN:
            return "{" + ",".join([str(value) for value in listed]) + "}"
        if kind is str and not has_none and "\\" not in (joined := '","'.join(listed)):
            if joined.count('"') == 2 * len(listed) - 2:
                return '{"' + joined + '"}'
        elif kind is datetime:  # of a bundle most are the same, and writing one takes long
            once = {value: _element(value) for value in set(listed)}
            return "{" + ",".join([once[value] for value in listed]) + "}"
    return "{" + ",".join(map(_element, listed)) + "}"


_NONE = frozenset({NoneType})
_PLAIN = frozenset({Decimal, int, bool, float, UUID})


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    kind = type(value)
    if kind in _PLAIN:
        return str(value)
    if isinstance(value, str):
        if '"' in value or "\\" in value:
            value = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{value}"'
    return f'"{value.isoformat()}"' if kind is datetime else str(value)
