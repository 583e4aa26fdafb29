"""A query for one row whose SQL Django compiles once. For queries that every request makes."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from django.db import connection
from django.db.models import Model, QuerySet
from django.db.models import query as django_query

Row = TypeVar("Row", bound=Model)


class PreparedLookup(Generic[Row]):
    """A query for one row and its `select_related` rows, with other values in each call.

    queryset: called once, when the models are loaded; the values in its filters are placeholders.
    """

    def __init__(self, queryset: Callable[[], QuerySet[Row]]) -> None:
        self._queryset = queryset
        self._compiled: tuple[str, Any, Any] | None = None

    def first(self, *values: Any) -> Row | None:
        """Return the row for these filter values, in the order of the filters; None without one."""
        sql, class_info, select = self._compiled or self._compile()
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            found = cursor.fetchone()
        if found is None:
            return None
        columns = class_info["select_fields"]
        names = [select[column][0].target.attname for column in columns]
        field_values = found[columns[0] : columns[-1] + 1]
        row: Row = class_info["model"].from_db(connection.alias, names, field_values)
        internals: Any = django_query
        for related in internals.get_related_populators(class_info, select, connection.alias):
            related.populate(found, row)
        return row

    def _compile(self) -> tuple[str, Any, Any]:
        compiler: Any = self._queryset().query.get_compiler(connection.alias)
        sql, _ = compiler.as_sql()
        self._compiled = sql, compiler.klass_info, compiler.select
        return self._compiled
