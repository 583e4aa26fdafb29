"""The audit finds what a broker names by the indexes on ids, however many orders there are."""

from typing import Any

import pytest

from common.db.sql import rows, run
from execution.audit import sql
from execution.audit.counters import _book_arrays, _clock, _limits
from signals.models import Feed
from tests.connections import make
from tests.execution import factories

pytestmark = pytest.mark.django_db
ORDERS = """
INSERT INTO execution_order (signal_id, connection_id, leg, pair, side, order_type, time_in_force,
  status, quantity, client_order_id)
SELECT s.id, c.id, 'entry', 'EUR/USD', 'BUY', 'MARKET', 'GTC', 'REJECTED', 1,
  lpad((row_number() OVER ())::text, 17, 'a') || '0'
FROM signals_signal s, connections_executionconnection c
"""
ARCHIVED = """
INSERT INTO execution_archivedorder (id, signal_id, connection_id, status, pair, side, order_type,
  quantity, client_order_id, created_at, done_at)
SELECT 10000000 + id, signal_id, connection_id, status, pair, side, order_type, quantity,
  'b' || right(client_order_id, 17), created_at, created_at FROM execution_order
"""


@pytest.mark.parametrize("counter", ["DUP", "ORPHAN", "RISEN"])
def test_audit_reads_orders_by_their_ids(feed: Feed, counter: str) -> None:
    account, *_ = [make.connection() for _ in range(50)]
    for _ in range(200):
        make.signal(feed)
    for statement in (ORDERS, ARCHIVED):
        factories.force(statement)
    run("ANALYZE execution_order; ANALYZE execution_archivedorder")
    asked: dict[str, Any] = {
        "signal": None,
        "since": None,
        "broker_types": [],
        "books_read_at": "2026-01-01",
    }
    book = {
        **_book_arrays([], [], None), "connections": f"{{{account.pk}}}",
        "ids": "{aaaaaaaaaaaaaa1230}", "times": "{1}", "executed": "{0}",
    }  # fmt: skip
    explained = rows(f"EXPLAIN {sql.COUNTERS[counter]}", {**asked, **_limits(), **_clock(), **book})
    plan = "\n".join(line for (line,) in explained)
    for table in ("execution_order", "execution_archivedorder"):
        assert f"Seq Scan on {table} " not in plan, plan
