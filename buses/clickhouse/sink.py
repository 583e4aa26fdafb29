"""Events as rows of three tables; an event that is written again replaces itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from buses.clickhouse.client import (
    SQL,
    UNKNOWN_DATABASE,
    UNKNOWN_TABLE,
    Address,
    ClickHouse,
    ClickHouseError,
    statements,
)
from buses.envelope import Envelope
from buses.sinks import SinkRefused, SinkUnavailable, name_of
from common.clocks import machine_time

TABLES = ("orders", "executions", "positions")
WRITE_SECONDS = 30.0  # a statement may take a third of it
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = dict[str, Any]


def open_sink(url: str) -> ClickHouseSink:
    """Return the sink of a URL. Raises SinkMisconfigured."""
    return ClickHouseSink(Address.parse(url), name_of(url))


class ClickHouseSink:
    """Writes a batch by one insert for each table."""

    def __init__(self, address: Address, name: str) -> None:
        self._client = ClickHouse(address)
        self._has_tables = False
        self._until = 0.0
        self.name = name

    def write(self, envelopes: Sequence[Envelope]) -> None:
        """Write the events that have a table. Raises SinkUnavailable, SinkRefused."""
        by_table: dict[str, list[tuple[Envelope, Row]]] = {}
        for envelope in envelopes:
            if (table := table_of(envelope)) is not None:
                by_table.setdefault(table, []).append((envelope, row_of(envelope, table)))
        if not by_table:
            return
        self._until = machine_time() + WRITE_SECONDS
        self._require_tables()
        for table, found in by_table.items():
            self._insert(table, found)

    def close(self) -> None:
        """Give up the connections."""
        self._client.close()

    def _insert(self, table: str, found: Sequence[tuple[Envelope, Row]]) -> None:
        """Insert rows; of several, that cannot be inserted together, find the one at fault."""
        if machine_time() > self._until:
            raise SinkUnavailable("no answer in time")
        try:
            self._client.insert(table, [row for _, row in found])
        except ClickHouseError as error:
            if not error.is_content:
                self._has_tables = error.code not in (UNKNOWN_TABLE, UNKNOWN_DATABASE)
                raise SinkUnavailable(str(error)) from error
            if len(found) == 1:
                raise SinkRefused(found[0][0].id, str(error)) from error
            half = len(found) // 2
            self._insert(table, found[:half])
            self._insert(table, found[half:])

    def _require_tables(self) -> None:
        """Make the database and its tables if they are not there. Raises SinkUnavailable."""
        if self._has_tables:
            return
        try:
            self._client.make_tables(statements("tables"))
        except ClickHouseError as error:
            raise SinkUnavailable(str(error)) from error
        self._has_tables = True


@cache
def columns(table: str) -> frozenset[str]:
    """Return the columns of a table, as its statement names them."""
    (statement,) = [one for one in statements("tables") if f"EXISTS {table} (" in one]
    body = statement[statement.index("(\n") : statement.index("\n)")]
    return frozenset(line.split()[0] for line in body.splitlines()[1:])


def query_text(name: str) -> str:
    """Return one of the queries in sql/queries."""
    return (SQL / "queries" / f"{name}.sql").read_text()


def table_of(envelope: Envelope) -> str | None:
    """Return the table of an event; None: it has none, as notices do."""
    kind = envelope.type.removeprefix("fillcast.").rpartition(".")[0]
    if kind.startswith("position_"):
        return "positions"
    return {"order_update": "orders", "fill": "executions"}.get(kind)


def row_of(envelope: Envelope, table: str) -> Row:
    """Return the row of an event: the fields that are columns, and what the envelope knows."""
    row = {name: value for name, value in envelope.data.items() if name in columns(table)}
    # What the event has is the state of the order as it was read, so the step's time decides.
    version = envelope.data.get("state_version")
    if version is None:
        version = (envelope.time - _EPOCH) // timedelta(microseconds=1)
    return row | {"source": envelope.source, "tenant_id": envelope.tenant_id, "version": version}
