"""Metrics that an app reads from its tables, for the metrics endpoint."""

from typing import NamedTuple


class Gauge(NamedTuple):
    """A metric that is read from the database. name: without the prefix `fillcast_`.

    sql: returns the labels' columns, then `value`; no row: no sample.
    """

    name: str
    description: str
    labels: tuple[str, ...]
    sql: str
