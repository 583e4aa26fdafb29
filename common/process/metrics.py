"""Metrics that an app reads from its tables, for the metrics endpoint."""

from collections.abc import Callable
from typing import NamedTuple


class Gauge(NamedTuple):
    """A metric that is read from the database. name: without the prefix `fillcast_`.

    sql: returns the labels' columns, then `value`; no row: no sample. A function, if it needs what
    apps register.
    """

    name: str
    description: str
    labels: tuple[str, ...]
    sql: str | Callable[[], str]

    def statement(self) -> str:
        return self.sql if isinstance(self.sql, str) else self.sql()
