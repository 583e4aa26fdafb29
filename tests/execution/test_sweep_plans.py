"""Periodic queries read live rows only, however many old rows there are: each
statement finds its rows by a partial index."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from datetime import timedelta
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.models.base import ModelState

from common.clocks import market_now
from common.sql import array, rows, run
from connections import selectors
from connections.exposure import all_open_sql
from connections.health import inactivity, probes
from connections.market_data.instrument_books import COMPLETIONS
from connections.market_data.sources import is_used_sql
from connections.models import ConnectionHealth, ExecutionConnection
from execution import signal_outcomes, tasks
from execution.dispatch import deferred_reports
from execution.exits import dust, orders
from execution.models import Order
from execution.monitoring import (
    broker_positions,
    level_monitor,
    level_sync,
    pending_actions,
    stop_failover,
    tick_monitor,
    unprotected_time,
)
from execution.reconciliation import open_positions, reconcile
from execution.recovery import stale_orders, sweeps
from execution.reports import broker_exits_sql, overfills
from execution.submission import claim_sql
from positions import broker_levels, broker_reads, protection
from prices import symbol_selection
from signals.models import Feed
from signals.open_signals import PAIRS_OF_BASE, open_signals_sql
from signals.symbol_completion import RECENTLY_TRADED
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import KIND

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(400)]  # it inserts fifty thousand rows

FINISHED = 30_000
SEED = """
INSERT INTO signals_signal (feed_id, action, currency_pair, direction, order_type, target_prices,
  target_fractions, close_fraction, time_in_force, strategy_id, trade_plan_id, risk_category,
  content_hash, origin, note, approval, published_at, valid_until)
SELECT %(feed)s, 'OPEN', 'EUR/USD', 'BUY', 'MARKET', '{}', '{}', 1, 'GTC', 'old', '', 'normal', '',
  'HAND', '', 'APPROVED', now(), now() - interval '1 minute' FROM generate_series(1, %(n)s);
INSERT INTO execution_order (connection_id, signal_id, leg, pair, symbol, side, order_type,
  time_in_force, quantity, filled_quantity, status, client_order_id, answer_by, submitted_at,
  acknowledged_at, done_at)
SELECT %(connection)s, id, 'entry', 'EUR/USD', 'EURUSD', 'BUY', 'MARKET', 'GTC', 1000, 1000,
  'FILLED', 'old' || id, now(), now(), now(), now() FROM signals_signal WHERE strategy_id = 'old';
INSERT INTO positions_executionposition (connection_id, signal_id, pair, symbol, side, quantity,
  opened_quantity, entry_price, sl, sl_guardian, tp_guardian, pip, conversion_rate, opened_at,
  closed_at)
SELECT %(connection)s, id, 'EUR/USD', 'EURUSD', 'BUY', 0, 1000, 1.1, 1.09, 'BROKER', '', 0.0001, 1,
  now(), now() FROM signals_signal WHERE strategy_id = 'old'
"""
BIG = ("execution_order", "positions_executionposition")


@contextmanager
def undone_at_the_end(blocker: Any) -> Iterator[None]:
    """Rows shared by several tests, each of which undoes its own changes."""
    outer = transaction.atomic()
    outer._from_testcase = True  # type: ignore[attr-defined]
    with blocker.unblock(), outer:
        yield
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def pile(django_db_setup: None, django_db_blocker: Any) -> Iterator[ExecutionConnection]:
    """One live order beside many finished ones of the same account."""
    with undone_at_the_end(django_db_blocker), pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "enqueue", lambda *_, **__: None)
        patch.setattr(deferred_reports, "deferred_queue", deferred_reports.DeferredReportQueue())
        factories.fake_broker().reset()
        factories.instrument()
        account = factories.account(make.feed())
        feed = account.subscriptions.get().feed
        factories.signal(feed)
        factories.claim_all()
        seeds: Any = {"feed": feed.pk, "n": FINISHED, "connection": account.pk}
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(SEED, seeds)
        run("ANALYZE execution_order, positions_executionposition, signals_signal")
        yield account


@pytest.fixture
def alice(pile: ExecutionConnection, db: None) -> ExecutionConnection:
    return ExecutionConnection.objects.get(pk=pile.pk)


@pytest.fixture
def feed(alice: ExecutionConnection) -> Feed:
    return alice.subscriptions.get().feed


@pytest.fixture
def piled_up(alice: ExecutionConnection) -> Order:
    return Order.objects.get(status="SUBMITTING")


STATEMENTS: dict[str, tuple[str, Any, set[str]]] = {  # name → (SQL, parameters, its indexes)
    "due": (sweeps.DUE, {"priority": 9, "grace": 1, "limit": 500, "lanes": ""}, {"order_due"}),
    "take over": (sweeps.MARK_ORPHANED_UNKNOWN, ("me",), {"order_in_flight", "order_with_broker"}),
    "ask": (
        sweeps.CLAIM_LOOKUPS,
        {"first": 2, "longest": 60, "claim": 31, "worker_id": "", "lanes": ""},
        {"order_lookup"},
    ),
    "unclaim": (sweeps.RELEASE_CLAIMS, (), {"order_lookup"}),
    "expired_working": (sweeps.CANCEL_EXPIRED_WORKING, (market_now(),), {"order_with_broker"}),
    "stale unknown": (
        stale_orders.ALERT_STALE_UNKNOWN,
        (60,),
        {"order_in_flight", "order_with_broker"},
    ),
    "stuck": (stale_orders.LOOK_UP_STUCK, {"stuck": 60, "answer": 10}, {"order_with_broker"}),
    "act": (stale_orders.HANDLE_STUCK, (), {"order_with_broker"}),
    "unanswered": (
        stale_orders.ALERT_UNANSWERED_CANCELS,
        {"tries": 4, "seconds": 60},
        {"order_pending_action", "order_with_broker"},
    ),
    "awaiting": (
        stale_orders.ALERT_AWAITED_COMPARISONS,
        {"seconds": 300},
        {"order_waiting", "order_due"},
    ),
    "pending actions": (pending_actions.LOCK, {"lanes": ""}, {"order_pending_action"}),
    "any levels": (broker_levels.ANY_DUE_LEVELS, {"lanes": ""}, {"position_level_sync"}),
    "levels": (
        level_sync.LEVELS,
        {"longest": 11, "lanes": ""},
        {"position_level_sync"},
    ),
}

BY_TIME = {"due", "ask", "pending actions"}

# The minute's scan of levels, and what the exit modules query each second. By module and name.
OF_EXITS: dict[tuple[ModuleType, str], Any] = {
    (level_monitor, "HITS"): None,
    (level_monitor, "DETAILS"): (30, [1, 2]),
    (dust, "FIND_DUST"): None,
    (dust, "REQUEST_READ"): None,
    (stop_failover, "PASSED"): None,
    (broker_reads, "BREACHED"): None,
    (stop_failover, "REQUEST_READ"): None,
    (stop_failover, "MAY_TAKE_OVER"): None,
    (unprotected_time, "UNMONITORED"): None,
    (unprotected_time, "UNCONFIRMED"): None,
    (protection, "RECORDED"): None,
    (unprotected_time, "ALERT"): None,
    (broker_positions, "CLAIM"): {"longest": 11, "lanes": '{""}'},
    (broker_positions, "UNBLOCKED"): ([1, 2],),
    (tick_monitor, "HITS"): ([1], ["EUR/USD"], [1], [1], [1], [1], [1.0]),
    (orders, "LOAD"): ([1, 2],),
    (orders, "OPEN_OF_SIGNAL"): (1,),
    (pending_actions, "LOCK"): {"lanes": '{""}'},
    (broker_levels, "ANY_DUE_LEVELS"): {"lanes": '{""}'},
    (level_sync, "LEVELS"): {"longest": 11, "lanes": '{""}'},
}
HAS_TIMES = {"INCOMPLETE_CLOSES", "OF_UNMONITORED_PAIRS"}  # planned below, with times
OF_ONE_ACCOUNT = {"OURS", "ENTERING"}  # planned below
PARTS = {"HELD_BACK", "_DUE_LEVELS"}  # of the statements above, as is what ends with _SQL
ONCE = {"UNMARK_ALL_MISSING"}  # after a restore
BY_IDS = re.compile(
    r"\b(id|position_id) = (ANY\()?%(\(id\))?s|FROM unnest\(%s|FROM requested WHERE"
)
LIVE = {
    "position_open", "position_open_of_signal", "position_open_of_source", "position_check_due",
    "position_breached", "position_without_stop", "position_unprotected", "position_level_sync",
    "watch_buy_sl", "watch_buy_tp", "watch_sell_sl", "watch_sell_tp", "order_due",
    "order_pending_action",
    "order_with_broker", "order_in_flight",
}  # fmt: skip


def reads_live_rows(sql: str, parameters: Any) -> list[Any]:
    """Return the scans of the big tables that read more than live rows, or rows by their keys."""
    return [
        scan
        for scan in scans_of(plan(sql, parameters))
        if not by_key(scan)
        and scan.get("Index Name") not in LIVE
        and not (scan.get("Index Name") == "one_exit" and "Index Cond" in scan)
    ]


@pytest.fixture(scope="class")
def with_exits(pile: ExecutionConnection, django_db_blocker: Any) -> Iterator[ExecutionConnection]:
    with undone_at_the_end(django_db_blocker):
        close_all()
        yield pile


def close_all() -> None:
    run(
        """INSERT INTO execution_order (connection_id, signal_id, position_id, leg, pair, symbol,
          side, order_type, time_in_force, quantity, filled_quantity, status, client_order_id,
          answer_by, submitted_at, acknowledged_at, done_at)
        SELECT connection_id, signal_id, id, 'sl', pair, symbol, 'SELL', 'MARKET', 'GTC', 1000,
          1000, 'FILLED', 'out' || id, now(), now(), now(), now()
        FROM positions_executionposition WHERE quantity = 0"""
    )
    run("ANALYZE execution_order")


class TestWithExits:
    """Each of the old positions was closed by an exit."""

    def test_level_scan_and_failover_read_live_rows_only(
        self, with_exits: ExecutionConnection, alice: ExecutionConnection
    ) -> None:
        too_much = {}
        for (module, name), parameters in OF_EXITS.items():
            if found := reads_live_rows(getattr(module, name), parameters):
                too_much[module.__name__, name] = found
        now = market_now()
        if found := reads_live_rows(protection.OF_UNMONITORED_PAIRS, ([1], ["EUR/USD"], [now])):
            too_much["protection", "OF_UNMONITORED_PAIRS"] = found
        account = alice.pk
        if found := reads_live_rows(broker_positions.ENTERING, (account,)):
            too_much["holdings", "ENTERING"] = found
        if found := reads_live_rows(broker_reads.UNMARK_MISSING, ([account], [1])):
            too_much["broker_reads", "UNMARK_MISSING"] = found
        assert too_much == {}

    def test_level_scan_finds_closes_by_their_index(
        self, with_exits: ExecutionConnection, alice: ExecutionConnection
    ) -> None:
        """Among all signals ever published; then their positions, one by one."""
        asked = (market_now() - timedelta(days=7), 30)
        assert reads_live_rows(level_monitor.INCOMPLETE_CLOSES, asked) == []
        nodes = list(nodes_of(plan(level_monitor.INCOMPLETE_CLOSES, asked)))
        scans = [one for one in nodes if one.get("Index Name") == "signal_published_closes"]
        assert len(scans) == 1
        assert "Index Cond" in scans[0]
        assert [one for one in nodes if one["Node Type"] == "Seq Scan"
                and one["Relation Name"] == "signals_signal"] == []  # fmt: skip


def test_each_exit_statement_is_planned_or_selects_by_ids() -> None:
    planned = {getattr(module, name) for module, name in OF_EXITS}
    unknown = [
        (module.__name__, name)
        for module in (
            level_monitor,
            dust,
            stop_failover,
            unprotected_time,
            broker_positions,
            tick_monitor,
            orders,
            pending_actions,
            level_sync,
            broker_levels,
            broker_reads,
            protection,
        )
        for name, sql in vars(module).items()
        if name.isupper() and isinstance(sql, str)
        if any(table in sql for table in BIG)
        if sql not in planned and not BY_IDS.search(sql)
        if name not in HAS_TIMES | OF_ONE_ACCOUNT | PARTS | ONCE and not name.endswith("_SQL")
    ]
    assert unknown == []


@pytest.mark.parametrize("lanes", ['{""}', "{}", "{sessions.1,mt5.main}"])
def test_sweeps_touch_live_rows_only(piled_up: Order, lanes: str) -> None:
    for name, (sql, parameters, indexes) in STATEMENTS.items():
        if "lanes" in parameters:
            parameters = {**parameters, "lanes": lanes}
        scans = list(scans_of(plan(sql, parameters)))
        found = [scan for scan in scans if not by_key(scan)]
        assert {scan.get("Index Name") for scan in found} <= indexes, (name, found)
        assert found, name
        if name in BY_TIME:  # rows that wait until later are not read
            assert all("Index Cond" in scan for scan in found), (name, found)


def test_claim_finds_open_positions_by_index(piled_up: Order) -> None:
    of = {"connections": array([str(piled_up.connection_id)]), "unanswered": 1}
    for sql in (claim_sql.EXPOSURE, claim_sql.OPEN_SIDES):
        names = {scan.get("Index Name") for scan in scans_of(plan(sql, of))}
        assert names <= {"order_with_broker", "position_open", "position_open_of_signal"}
    (loaded,) = scans_of(plan(claim_sql.LOAD, (array([piled_up.pk]),)))
    assert by_key(loaded)


def test_entry_of_a_position_is_found_by_its_signal(piled_up: Order) -> None:
    """Never among all orders that its account has ever had: a claim of 500 exits took seconds."""
    one = {"ids": '{"x"}', "connection": str(piled_up.connection_id)}
    statements: dict[str, tuple[str, Any]] = {
        "exits of a claim": (claim_sql.EXITS, ([1],)),
        "holdings": (broker_positions.OURS, (piled_up.connection_id,)),
        "beyond": (overfills.WAITS, (one["ids"], one["connection"])),
        "levels": (level_sync.LEVELS, {"longest": 11, "lanes": '{""}'}),
        "exits that the broker made": (broker_exits_sql.LOAD, ([1],)),
        "outcome of a signal": (signal_outcomes.COUNT, ([piled_up.signal_id],)),
    }
    for name, (sql, parameters) in statements.items():
        found = {scan.get("Index Name") for scan in scans_of(plan(sql, parameters))}
        assert found, name
        assert "order_of_connection" not in found, (name, found)
        assert None not in found, (name, found)  # a whole table


def test_positions_of_one_ticket_are_found_by_it(piled_up: Order) -> None:
    """Run each second for a polled account, which has had thirty thousand positions."""
    run("UPDATE positions_executionposition SET broker_position_id = 't' || id")
    run("ANALYZE positions_executionposition")
    one = {"connections": [piled_up.connection_id], "before": []}
    scans = list(scans_of(plan(open_positions.OURS, one)))
    found = {scan.get("Index Name") for scan in scans if not by_key(scan)}
    assert "position_of_ticket" in found
    assert found <= LIVE | {"position_of_ticket"}, found


def test_open_signals_of_a_feed_are_found_from_live_rows(piled_up: Order, feed: Feed) -> None:
    """Run for an alert that closes a symbol, whatever the feed has traded before."""
    asked = {"feed": feed.pk, "pair": "EUR/USD", "sides": "{BUY,SELL}"}
    explained = plan(open_signals_sql(), asked)
    names = [scan.get("Index Name") for scan in scans_of(explained)]
    orders = {"order_with_broker", "order_due"}
    assert orders <= {*names} <= orders | {"position_open", "position_open_of_signal"}, names


def test_pair_of_a_word_is_searched_among_the_newest_trades(piled_up: Order, feed: Feed) -> None:
    """An alert of a symbol without a currency; its feed has had thirty thousand trades."""
    asked = {"feed": feed.pk, "base": "EUR/"}
    explained = rows(f"EXPLAIN {RECENTLY_TRADED}", asked)
    text = "\n".join(row[0] for row in explained)
    assert "using signal_feed_published on signals_signal" in text
    assert "Seq Scan" not in text
    assert [row.pair for row in rows(RECENTLY_TRADED, asked)] == ["EUR/USD"]


def test_pairs_of_a_base_are_read_one_step_each(piled_up: Order, feed: Feed) -> None:
    """Which pairs a feed has ever traded, without reading its thirty thousand trades."""
    asked = {"feed": feed.pk, "base": "EUR"}
    (row,) = rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {PAIRS_OF_BASE}", asked)
    scans = [one for one in nodes_of(row[0][0]["Plan"]) if "signals_signal" in one.values()]
    assert [one.get("Index Name") for one in scans] == ["signal_opened_trades"] * 2
    assert all(one["Actual Rows"] <= 1 for one in scans), scans
    assert [row.pair for row in rows(PAIRS_OF_BASE, asked)] == ["EUR/USD"]


LISTS, NAMES = 100, 300


def test_listed_pairs_of_a_word_are_found_by_their_base(
    feed: Feed, alice: ExecutionConnection
) -> None:
    """Run for an alert with a symbol without a currency, among the lists of all brokers."""
    run(
        """INSERT INTO connections_instrument (book, symbol, pair, is_preferred, digits, pip,
          quantity_min, quantity_step, quantity_max, contract_size, stops_level, margin_rate,
          read_at)
        SELECT 'book ' || b, 'X' || n, 'X' || n || '/USD', true, 2, 1, 1, 1, 1, 1, 0, 0, now()
        FROM generate_series(1, %s) b, generate_series(1, %s) n""",
        (LISTS, NAMES),
    )
    ExecutionConnection.objects.filter(pk=alice.pk).update(instrument_book="book 7")
    run("ANALYZE connections_instrument, connections_executionconnection, connections_subscription")
    asked = {
        "feed_id": feed.pk, "reaches_admins": True, "only_owner": None, "word": "X9",
        "feed_owner": feed.owner_id,
    }  # fmt: skip
    (row,) = rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {COMPLETIONS}", asked)
    names = {one["Index Name"] for one in nodes_of(row[0][0]["Plan"]) if "Index Name" in one}
    read = [one for one in nodes_of(row[0][0]["Plan"]) if one.get("Alias") == "i"]
    assert "instrument_base" in names
    assert read
    assert all(one["Actual Rows"] + one.get("Rows Removed by Filter", 0) <= LISTS for one in read)
    assert [(row.pair, row.listing) for row in rows(COMPLETIONS, asked)] == [("X9/USD", 1)]


OFF = 3_000


@pytest.fixture(scope="class")
def switched_off(
    pile: ExecutionConnection, django_db_blocker: Any
) -> Iterator[ExecutionConnection]:
    with undone_at_the_end(django_db_blocker):
        switch_off(pile)
        yield pile


def switch_off(pile: ExecutionConnection) -> None:
    template = ExecutionConnection.objects.get(pk=pile.pk)
    template.is_active = False
    template.save(update_fields=["is_active"])
    others = [copy_of(template, number) for number in range(OFF)]
    ExecutionConnection.objects.bulk_create(others)
    then = market_now() - timedelta(days=1)
    ConnectionHealth.objects.bulk_create(
        [ConnectionHealth(connection=one, status="ACTIVE", last_connected_at=then,
                          unreachable_at=then, last_error_at=then) for one in others]
    )  # fmt: skip
    run("ANALYZE connections_executionconnection, connections_connectionhealth")


def copy_of(template: ExecutionConnection, number: int) -> ExecutionConnection:
    found = copy(template)
    found.pk, found.account, found._state = uuid4(), f"off {number}", ModelState()
    return found


class TestSwitchedOff:
    """Many accounts are off and silent beside the one of the live order, which is off too."""

    @pytest.mark.parametrize("lanes", ['{""}', "{sessions.1,mt5.main}"])
    def test_open_exposure_is_found_by_index(
        self, switched_off: ExecutionConnection, alice: ExecutionConnection, lanes: str
    ) -> None:
        """For each of thousands of accounts that are off, every few seconds."""
        common = {"lanes": lanes, "limit": 500, "queried": "{}"}
        at = {"older": 45, "idle_ids": "{}"}
        all_of_them = {"ids": "{}", "done": "{}", "selected_at": "{}", "only_new": False}
        statements = {
            "accounts due": (selectors.accounts_due_sql(), common | at),
            "doubted": (probes.failing_sql(), common | {"retry_seconds": 5}),
            "probed": (probes.probe_sql(), common | {"hosts": [KIND]}),
            "silent": (inactivity.inactive_sql(), None),
            "compared": (reconcile.connections_sql(), common | at | all_of_them),
            "to open": (selectors.accounts_to_open_sql(), (lanes,)),
            "idle": (selectors.idle_accounts_sql(), common | {"idle": 900}),
            "what is open": (f"SELECT * FROM {all_open_sql()} o WHERE connection_id = %s",
                             (alice.pk,)),
        }  # fmt: skip
        for name, (sql, parameters) in statements.items():
            found = {scan.get("Index Name") for scan in scans_of(plan(sql, parameters))}
            assert found, name
            # One account by its index, or all live rows hashed once: the planner's choice.
            assert found <= {"position_open", "position_open_of_signal", "order_with_broker"}, (
                name,
                found,
            )

    def test_users_of_a_price_source_are_found_by_index(
        self, switched_off: ExecutionConnection, alice: ExecutionConnection
    ) -> None:
        """Run each second in each trading process, for sources that all open positions use, and
        for sources that none uses: there the planner assumes that some of so many are soon
        found."""
        run("UPDATE positions_executionposition SET quantity = 1000, closed_at = NULL,"
            " price_source_id = %s", (alice.data_connection_id,))  # fmt: skip
        for table in BIG:
            run(f"UPDATE {table} t SET connection_id = c.ids[t.id %% 3000 + 1] FROM"
                " (SELECT array_agg(id) AS ids FROM connections_executionconnection) c"
                " WHERE %s", (True,))  # fmt: skip
            run(f"ANALYZE {table}")
        used = f"SELECT id FROM connections_dataconnection d WHERE {is_used_sql('d.id')}"
        [scan] = scans_of(plan(used, None))
        assert (scan["Index Name"], "Index Cond" in scan) == ("position_open_of_source", True)
        for source in (0, alice.data_connection_id):
            found = list(
                scans_of(plan(symbol_selection.required_pairs_sql(), {"sources": f"{{{source}}}"}))
            )
            assert {scan.get("Index Name") for scan in found} == {
                "position_open_of_source", "order_of_connection",
            }  # fmt: skip
            assert all("Index Cond" in scan for scan in found)


def plan(sql: str, parameters: Any) -> dict[str, Any]:
    """Return the planner's choice without running the query."""
    (row,) = rows(f"EXPLAIN (FORMAT JSON) {sql}", parameters)
    explained = row[0]
    found: dict[str, Any] = (json.loads(explained) if isinstance(explained, str) else explained)[0][
        "Plan"
    ]
    return found


def scans_of(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the scans of the two big tables."""
    inner: Sequence[dict[str, Any]] = node.get("Plans", ())
    if node["Node Type"] == "Bitmap Heap Scan" and node.get("Relation Name") in BIG:
        yield {**inner[0], "Relation Name": node["Relation Name"]}
        return
    if node.get("Relation Name") in BIG and node["Node Type"] != "ModifyTable":
        yield node
    for one in inner:
        yield from scans_of(one)


def nodes_of(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for one in node.get("Plans", ()):
        yield from nodes_of(one)


def by_key(scan: dict[str, Any]) -> bool:
    """Whether rows are fetched one by one, by their ids or by the entry of a signal."""
    keys = {"execution_order_pkey", "positions_executionposition_pkey", "one_entry"}
    return scan.get("Index Name") in keys and "Index Cond" in scan
