"""The columns of a table, and how their values are selected, stored and read back."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from common.db.sql import Query, rows

_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
AS_TEXT: dict[str, tuple[str, Callable[[str], Any]]] = {
    "jsonb": ("::text", json.loads),  # the text that PostgreSQL prints: nothing is rounded
    "uuid": ("::text", UUID),
    "numeric": ("::text", Decimal),
}
"""Types that are stored as text: how they are selected, and how a text is read back."""
PLAIN = frozenset(
    {"bigint", "integer", "smallint", "boolean", "text", "character varying", "bytea", "date",
     "timestamp with time zone", "double precision", "time without time zone"}
)  # fmt: skip


class UnknownTypeError(Exception):
    """A column has a type that the archive cannot store; nothing of its table is archived."""


class ColumnRow(NamedTuple):
    """A column of a table, with its type as PostgreSQL writes it."""

    name: str
    type: str


COLUMNS = Query(
    ColumnRow,
    """
SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type
FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
""",
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column. type: PostgreSQL's, without a length; of a list its elements'. expression: SQL of a
    row `r`, if it is no column of the table."""

    name: str
    type: str
    is_list: bool = False
    precision: int = 0
    scale: int = 0
    expression: str = ""

    @classmethod
    def read(cls, name: str, written: str) -> "Column":
        """Return a column by its type as PostgreSQL writes it. Raises UnknownTypeError."""
        element = written.removesuffix("[]")
        if exact := _NUMERIC.fullmatch(element):
            precision, scale = map(int, exact.groups())
            return cls(name, "decimal", element != written, precision, scale)
        plain = re.sub(r"\(\d+\)", "", element)
        if plain not in PLAIN and (plain not in AS_TEXT or element != written):
            raise UnknownTypeError(f"{name} is {written}, which the archive cannot store")
        return cls(name, plain, element != written)

    @property
    def written_type(self) -> str:
        """The type as `read` takes it."""
        exact = f"numeric({self.precision},{self.scale})"
        return (exact if self.type == "decimal" else self.type) + "[]" * self.is_list

    @property
    def selected(self) -> str:
        """SQL that selects it from a row `r`."""
        cast, _ = AS_TEXT.get(self.type, ("", None))
        value = self.expression or f'r."{self.name}"'
        return f'{value}{cast} AS "{self.name}"'

    def restore(self, value: Any) -> Any:
        """Return the value as the database returned it."""
        if value is None or self.type not in AS_TEXT:
            return value
        return AS_TEXT[self.type][1](value)


def columns_of(table: str, with_it: Mapping[str, str] | None = None) -> Sequence[Column]:
    """Return a table's columns, and those of `ArchiveKind.with_it`. Raises UnknownTypeError."""
    more = (with_it or {}).items()
    return [
        *(Column.read(row.name, row.type) for row in rows(COLUMNS, (table,))),
        *(Column(name, "jsonb", expression=sql) for name, sql in more),
    ]
