"""Many rows of one model that differ in a few columns, written by one statement."""

from collections.abc import Mapping
from typing import Any

from django.db import connection, models
from django.db.models.expressions import DatabaseDefault

from common.db.sql import run


def write_rows(
    usual: models.Model, source: str, columns: Mapping[str, str], parameters: Mapping[str, Any]
) -> None:
    """Write a row like `usual` for each row of `source`, an item of FROM with its alias.

    columns: an expression over `source` for each column that differs. A generated primary key is
    left to the database, as are columns whose default it knows. As by `bulk_create`, no signals are
    sent.
    """
    names, expressions, values = list(columns), list(columns.values()), {}
    for field in usual._meta.concrete_fields:
        is_generated = isinstance(field, models.AutoField)
        if field.column in columns or is_generated or field.generated:
            continue
        value = field.pre_save(usual, True)
        if isinstance(value, DatabaseDefault):
            continue
        names.append(field.column)
        expressions.append(f"%(usual_{field.column})s")
        values[f"usual_{field.column}"] = field.get_db_prep_save(value, connection)
    run(
        f"INSERT INTO {usual._meta.db_table} ({', '.join(names)})"
        f" SELECT {', '.join(expressions)} FROM {source}",
        {**parameters, **values},
    )
