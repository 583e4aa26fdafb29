"""A look-up of one row that every request makes: Django compiles its SQL once, not each time."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from django.db import connection
from django.db.models import Model, QuerySet
from django.db.models import query as django_query

Row = TypeVar("Row", bound=Model)


class PreparedLookup(Generic[Row]):
    """Finds one row, with the rows that it refers to, by values that change from call to call.

    queryset: called once, when the models are loaded; its filters hold any values.
    """

    def __init__(self, queryset: Callable[[], QuerySet[Row]]) -> None:
        self._queryset = queryset
        self._compiled: tuple[str, Any, Any] | None = None

    def first(self, *values: Any) -> Row | None:
        """Return the row that the filters find with these values, in their order."""
        sql, shape, select = self._compiled or self._compile()
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            found = cursor.fetchone()
        if found is None:
            return None
        columns = shape["select_fields"]
        names = [select[column][0].target.attname for column in columns]
        values_of = found[columns[0] : columns[-1] + 1]
        row: Row = shape["model"].from_db(connection.alias, names, values_of)
        internals: Any = django_query
        for related in internals.get_related_populators(shape, select, connection.alias):
            related.populate(found, row)
        return row

    def _compile(self) -> tuple[str, Any, Any]:
        compiler: Any = self._queryset().query.get_compiler(connection.alias)
        sql, _ = compiler.as_sql()
        self._compiled = sql, compiler.klass_info, compiler.select
        return self._compiled
