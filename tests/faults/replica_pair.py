"""A primary with a real streaming standby, and trades to read from it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal as D
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from django.db import connections

from analytics.replica import replica_rows
from analytics.results.closed_trades import Scope, trade_results
from common.db.direct_sessions import REPLICA
from common.db.sql import Query
from config.databases import databases
from config.env import Settings
from connections.models import ExecutionConnection
from ops.embedded.postgres import PostgresServer
from positions.models import ExecutionPosition
from tests.analytics import factories
from tests.faults.postgres_clusters import Clusters

CLOSED = datetime(2026, 3, 4, 12, tzinfo=UTC)
START, END = date(2026, 3, 1), date(2026, 3, 31)
PAUSE = 0.3


class WhereRow(NamedTuple):
    is_replica: bool


WHERE = Query(WhereRow, "SELECT pg_is_in_recovery() AS is_replica")


@dataclass(slots=True)
class Pair:
    """A primary and its standby."""

    clusters: Clusters
    primary: PostgresServer
    standby: PostgresServer

    def on_standby(self, statement: str) -> None:
        with psycopg.connect(self.standby.url, autocommit=True) as session:
            session.execute(statement.encode())


@contextmanager
def following(url: str) -> Iterator[None]:
    """Give Django the server at this URL as its replica inside this block."""
    environ = {"FILLCAST_DB_ROLE": "trade", "FILLCAST_DATABASES": f"replica={url}"}
    entry = databases(Settings.read(environ))[REPLICA]
    options = entry["OPTIONS"]  # as the owner, as in the tests on the primary
    options["options"] = options["options"].replace(" -c role=fillcast_trade", "")
    connections.settings[REPLICA] = {**connections.settings["default"], **entry}
    wrapper = connections[REPLICA]

    def ensure_connection() -> None:  # Django's tests allow only databases that they know
        if wrapper.connection is None:
            with wrapper.wrap_database_errors:
                wrapper.connect()

    wrapper.ensure_connection = ensure_connection  # type: ignore[method-assign]
    try:
        yield
    finally:
        wrapper.close()
        wrapper.close_pool()  # type: ignore[attr-defined]
        del connections[REPLICA]
        del connections.settings[REPLICA]


def is_replica(**how: Any) -> bool:
    """Return whether the replica answers."""
    return replica_rows(WHERE, **how)[0].is_replica


def account(name: str) -> ExecutionConnection:
    return factories.connection(factories.user(name))


def close(of: ExecutionConnection, pnl: int) -> ExecutionPosition:
    """Store one more closed trade."""
    assert of.user is not None
    (signal_,) = factories.signals(of.user, 1)
    trade = factories.trade(of, signal_, closed_at=CLOSED, pnl=D(pnl))
    trade.save()
    return trade


def total(of: ExecutionConnection) -> D:
    return trade_results(Scope([of.pk], START, END)).sums.total


@contextmanager
def hung(server: PostgresServer) -> Iterator[None]:
    """Stop all processes of a server, whose kernel goes on to acknowledge what it receives."""
    assert server.process is not None
    parent = server.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    pids = [parent, *map(int, children)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
