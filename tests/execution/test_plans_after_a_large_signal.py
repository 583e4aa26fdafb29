"""After a signal to many accounts each statement reads what it needs, not all rows.

All of its rows have one price and one signal, and the planner's statistics are from before it, or
from just after it."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import transaction

from analytics.event_context import EVENT_CONTEXT_SQL, event_context
from common.clocks import market_now
from common.db.sql import array, columns, rows, run
from connections.health import status_updates
from connections.models import ExecutionConnection
from events.context import EventContext
from execution.exits import orders
from execution.models import Order
from execution.monitoring import (
    incomplete_closes,
    level_monitor,
    stop_failover,
    tick_monitor,
    trigger_monitor,
)
from execution.runtime import event_stream
from execution.submission import aggregate_rows, claim_sql, recent
from positions import stop_rule_rows
from positions.levels import held_levels_reached_sql
from tests.execution import factories
from tests.execution.fake_broker import KIND
from tests.execution.query_plans import (
    account_with_signal,
    add_earlier_trades,
    copy_account,
    copy_health,
    kept_since,
    prepared,
    rows_read,
    undone_at_the_end,
    without_triggers,
)

pytestmark = [pytest.mark.django_db]  # it inserts many rows

ACCOUNTS, BUNDLE, EARLIER = 5_000, 100, 1_000
OF_ACCOUNTS = ("connections_executionconnection", "connections_connectionhealth")
OF_SIGNALS = ("execution_order", "positions_executionposition", "execution_ordertrigger")
TABLES = (*OF_ACCOUNTS, *OF_SIGNALS)
# Of the one that has filled: a position of each account, and an entry of the next signal.
FILLED = """
INSERT INTO positions_executionposition SELECT r.*
FROM positions_executionposition p
CROSS JOIN (SELECT id FROM connections_executionconnection WHERE id <> %s) c
CROSS JOIN jsonb_populate_record(p, jsonb_build_object(
  'id', nextval(pg_get_serial_sequence('positions_executionposition', 'id')),
  'connection_id', c.id, 'stop_moves_at', 1.3, 'sl', 1.05, 'tp', 1.35,
  'broker_sl', 1.05, 'broker_tp', 1.35, 'sl_guardian', 'BROKER', 'tp_guardian', 'BROKER')) r
WHERE p.signal_id = %s
"""
DUE = """
INSERT INTO execution_order SELECT r.*
FROM execution_order o
CROSS JOIN (SELECT id, row_number() OVER () AS n FROM connections_executionconnection
  WHERE id <> %s) c
CROSS JOIN jsonb_populate_record(o, jsonb_build_object(
  'id', nextval(pg_get_serial_sequence('execution_order', 'id')), 'connection_id', c.id,
  'signal_id', %s::bigint, 'client_order_id', 'due' || n,
  'status', 'PENDING', 'filled_quantity', 0, 'due_at', now(), 'done_at', NULL, 'filled_at', NULL,
  'submitted_at', NULL, 'acknowledged_at', NULL, 'answer_by', NULL, 'reason', '',
  'avg_fill_price', NULL)) r
WHERE o.id = %s
"""
RANGES = """
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[],
  %s::numeric[]) AS t(source_id, pair, low_bid, high_bid, low_ask, high_ask)
"""
ARMED = """
INSERT INTO execution_ordertrigger (order_id, connection_id, kind, sent_as, source_id, pair, side,
  level, active_since, is_armed)
SELECT id, connection_id, 'STOP', 'MARKET', %s, 'EUR/USD', 'BUY', 1.5,
  clock_timestamp() - interval '1 hour', true
FROM execution_order WHERE status = 'PENDING'
"""


@pytest.fixture(scope="module", params=["statistics from before", "statistics from after"])
def published(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: Any
) -> Iterator[ExecutionConnection]:
    with undone_at_the_end(django_db_blocker), pytest.MonkeyPatch.context() as patch:
        patch.setattr("execution.tasks.enqueue", lambda *_, **__: None)
        account, feed = account_with_signal()
        factories.fill_all()
        factories.quote(account)
        ended = Order.objects.get()
        add_earlier_trades(account, feed, EARLIER)
        for table in TABLES:  # without the empty pages that earlier tests have left in its indexes
            run(f"REINDEX TABLE {table}")
        run(f"ANALYZE {', '.join(TABLES)}")
        copy_account(account, ACCOUNTS)
        copy_health(account)
        with without_triggers():
            run(f"ANALYZE {', '.join(OF_ACCOUNTS)}")  # they are there before the signal
            run(FILLED, (account.pk, ended.signal_id))
            run(DUE, (account.pk, ended.signal_id, ended.pk))
            run(ARMED, (account.data_connection_id,))
        if request.param == "statistics from after":
            run(f"ANALYZE {', '.join(TABLES)}")
        yield account


def test_prices_read_only_what_they_reach(published: ExecutionConnection) -> None:
    factories.quote(published)  # old ones are not judged
    source = published.data_connection_id
    one: dict[str, list[Any]] = {"source_id": [source], "pair": ["EUR/USD"], "low_bid": [D("1.10")],
           "high_bid": [D("1.11")], "low_ask": [D("1.10")], "high_ask": [D("1.11")],
           "fall": [D(0)], "rise": [D(0)], "age": [1.0]}  # fmt: skip
    ranges = {name: array(values) for name, values in one.items()}
    asked: dict[str, tuple[str, Any]] = {
        "levels": (level_monitor.HITS, None),
        "levels of brokers": (stop_failover.PASSED, None),
        "levels at ticks": (
            tick_monitor.HITS,
            [*list(ranges.values())[:6], ranges["age"]],
        ),
        "levels that brokers hold": (
            f"WITH q AS ({RANGES}) {held_levels_reached_sql()}",
            list(ranges.values())[:6],
        ),
        "rules": (
            stop_rule_rows.REACHED_RULES,
            [ranges["source_id"], ranges["pair"], ranges["high_bid"], ranges["low_ask"]],
        ),
        "triggers": (trigger_monitor.REACHED, ranges),
    }
    check_rows_read(asked, most=10)


def test_claim_reads_the_rows_of_its_accounts(published: ExecutionConnection) -> None:
    entries = list(Order.objects.filter(status="PENDING").order_by("pk")[:BUNDLE])
    accounts = array(entry.connection_id for entry in entries)
    limits = columns(
        [(entry.pk, entry.connection_id, "EUR/USD", "BUY", 1, market_now(), True, True, True, 60.0)
         for entry in entries], 10,
    )  # fmt: skip
    asked: dict[str, tuple[str, Any]] = {
        "exposure": (
            claim_sql.EXPOSURE, {"connections": accounts, "unanswered": 5.0, "pairs": "{}"},
        ),
        "sides": (claim_sql.OPEN_SIDES, {"connections": accounts, "netting": accounts}),
        "waiting": (claim_sql.OLDEST_WAITING, (accounts, "EARLIER_COMMAND")),
        "aggregated": (aggregate_rows.WAITING, (accounts, "{}")),
        "recent": (recent.RECENT, limits),
    }  # fmt: skip
    check_rows_read(asked, most=10 * BUNDLE)


def test_what_concerns_a_signal_reads_its_open_positions(published: ExecutionConnection) -> None:
    """Of a thousand that are closed, too, each is of a signal of its own: none is read."""
    signal = Order.objects.order_by("pk")[0].signal
    assert signal is not None
    factories.close_signal(signal)
    asked = {"since": market_now() - timedelta(days=7), "retry": 30}
    read = rows_read(incomplete_closes.OF_CLOSES, asked)
    assert ACCOUNTS <= read["positions_executionposition"] <= ACCOUNTS + 10
    check_rows_read({"open of a signal": (orders.OPEN_OF_SIGNAL, (signal.pk + 1,))}, most=10)


def test_bundles_of_events_and_of_health_read_their_own_rows(
    published: ExecutionConnection,
) -> None:
    entries = list(Order.objects.filter(status="PENDING").order_by("pk")[:BUNDLE])
    accounts = array(entry.connection_id for entry in entries)
    facts = [(n, entry.connection_id, entry.signal_id, entry.pk, None)
             for n, entry in enumerate(entries)]  # fmt: skip
    asked: dict[str, tuple[str, Any]] = {"events": (EVENT_CONTEXT_SQL, columns(facts, 5))}
    for column in ("last_used_at", "last_connected_at"):
        asked[column] = (status_updates.TOUCH.format(column=column), (accounts, 1.0))
    check_rows_read(asked, most=10 * BUNDLE)


def test_bundles_of_events_and_of_health_keep_their_plans(published: ExecutionConnection) -> None:
    entry = Order.objects.filter(status="PENDING").order_by("pk")[0]
    before = prepared()
    status_updates.mark_used([entry.connection_id])
    status_updates.mark_connected([entry.connection_id])
    event = EventContext(
        1, "order.filled", None, entry.connection_id, entry.signal_id, entry.pk, {}, market_now()
    )
    with transaction.atomic():
        event_context([event])
    kept = " ".join(kept_since(before))
    assert kept.count("SET last_used_at") == kept.count("SET last_connected_at") == 1
    assert kept.count("AS account_name") == 1


def test_broker_types_are_found_without_a_read_of_all_accounts(
    published: ExecutionConnection,
) -> None:
    """In each trading process several times a second."""
    asked = {"lanes": '{"",sessions.1}'}
    check_rows_read({"broker types": (event_stream.BROKER_TYPES, asked)}, most=10)
    (found,) = rows(event_stream.BROKER_TYPES, asked)
    assert (found.type, found.is_shared) == (KIND, True)


def check_rows_read(asked: Mapping[str, tuple[str, Any]], *, most: int) -> None:
    """Fail if a statement reads more than so many rows of a large table."""
    too_many = [
        f"{name}: {number} rows of {table} read, expected at most {most}"
        for name, (sql, parameters) in asked.items()
        for table, number in rows_read(sql, parameters).items()
        if table in TABLES and number > most
    ]
    if too_many:
        pytest.fail("\n".join(too_many), pytrace=False)
