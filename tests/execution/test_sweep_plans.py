"""Periodic queries read live rows only, however many old rows there are: each
statement finds its rows by a partial index."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from types import ModuleType
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from common.clocks import market_now
from common.sql import array, columns, kept_plans, periodic_rows, rows, run
from connections import selectors
from connections.exposure import all_open_sql
from connections.health import inactivity, probes
from connections.loss_limits import figures
from connections.market_data.instrument_books import COMPLETIONS
from connections.market_data.sources import is_used_sql
from connections.models import ConnectionHealth, ExecutionConnection
from connections.services import HaltTarget, set_kill_switch
from execution import signal_outcomes, tasks
from execution.changes import order_ends, passed_entries, signal_changes
from execution.disaster_recovery import netting_exits
from execution.disaster_recovery.sql import RELEASABLE_EXITS
from execution.dispatch import deferred_reports
from execution.exits import dust, orders, partial_closes
from execution.models import AccountSyncState, Order
from execution.monitoring import (
    broker_positions,
    change_statements,
    condition_exits,
    condition_watch,
    halt_actions,
    held_prices,
    incomplete_closes,
    level_monitor,
    level_sync,
    pending_actions,
    stop_failover,
    stop_rules,
    tick_monitor,
    time_exits,
    trigger_monitor,
    trigger_upkeep,
    unprotected_time,
)
from execution.reconciliation import auto_correction, missing_positions, open_positions, reconcile
from execution.recovery import poll_claims, stale_orders, sweeps
from execution.reports import broker_exits_sql, overfills, position_rebuild
from execution.runtime import broker_queries, stream_claims
from execution.submission import claim_sql, recent, route_writes, signal_limits
from positions import broker_levels, broker_reads, protection, stop_rule_rows
from prices import symbol_selection
from signals.models import Feed
from signals.open_signals import TRADED_PAIRS, open_signals_sql
from signals.symbol_completion import RECENTLY_TRADED
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import KIND
from tests.execution.query_plans import (
    account_with_signal,
    add_earlier_trades,
    copy_of,
    kept_since,
    nodes_of,
    plan,
    prepared,
    undone_at_the_end,
    without_triggers,
)
from tests.loss_limits import limit_of

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(400)]  # it inserts many rows

FINISHED = 10_000
ACCOUNTS, PAIRS = 300, 30
BIG = ("execution_order", "positions_executionposition")


@pytest.fixture(scope="module")
def pile(django_db_setup: None, django_db_blocker: Any) -> Iterator[ExecutionConnection]:
    """One live order beside many finished ones of the same account."""
    with undone_at_the_end(django_db_blocker), pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "enqueue", lambda *_, **__: None)
        patch.setattr(deferred_reports, "deferred_queue", deferred_reports.DeferredReportQueue())
        account, feed = account_with_signal()
        factories.claim_all()
        add_earlier_trades(account, feed, FINISHED)
        # Earlier tests have left empty pages in some of the indexes, and the planner prefers all
        # of a small index to one row of a large one. REINDEX makes their sizes those of their rows.
        run("REINDEX TABLE execution_order")
        run("REINDEX TABLE positions_executionposition")
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
    "due": (sweeps.DUE, {"priority": 9, "grace": 1, "limit": 500, "lanes": ""}, {"order_pending"}),
    "due deferred": (
        sweeps.DUE_DEFERRED,
        {"priority": 9, "grace": 1, "limit": 500, "lanes": ""},
        {"order_waiting", "order_pending"},  # it is built like "due"
    ),
    "conditions": (
        condition_watch.WAKE,
        {"now": market_now()},
        {"order_condition", "position_of_entry"},
    ),
    "condition exits": (
        condition_exits.POSITIONS,
        {"limit": 100},
        {
            "position_close_when",
            "position_open",
            "position_open_by_signal",
            "one_exit",
            "position_of_entry",
        },
    ),
    "entries of condition exits": (
        condition_exits.ENTRIES,
        {"limit": 100},
        {"order_exit_condition", "position_of_entry"},
    ),
    "passed rests": (
        passed_entries.PASSED_RESTS,
        (),
        {
            "order_with_broker",
            "position_of_entry",
            "position_open_by_signal",
            "position_open",
        },
    ),
    "prolonged": (order_ends.PROLONGED, (), {"order_prolonged"}),
    "routes": (route_writes.FAILED, (), {"order_route_failed"}),
    "take over": (sweeps.MARK_ORPHANED_UNKNOWN, ("me",), {"order_in_flight", "order_with_broker"}),
    "ask": (
        sweeps.CLAIM_LOOKUPS,
        {"first": 2, "longest": 60, "claim": 31, "worker_id": "", "lanes": ""},
        {"order_lookup"},
    ),
    "unclaim": (sweeps.RELEASE_CLAIMS, (), {"order_lookup"}),
    "expired_working": (
        sweeps.CANCEL_EXPIRED_WORKING,
        {"now": market_now()},
        {"order_with_broker"},
    ),
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
        {"order_waiting"},
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
    (incomplete_closes, "OF_PAUSES"): {"retry": 30},
    (incomplete_closes, "OF_HALTS"): {"retry": 30},
    (dust, "FIND_DUST"): (),
    (dust, "REQUEST_READ"): None,
    (stop_failover, "PASSED"): None,
    (broker_reads, "BREACHED"): None,
    (stop_failover, "REQUEST_READ"): None,
    (stop_failover, "MAY_TAKE_OVER"): None,
    (unprotected_time, "UNMONITORED"): None,
    (unprotected_time, "UNCONFIRMED"): None,
    (protection, "RECORDED"): None,
    (unprotected_time, "ALERT"): None,
    (broker_positions, "CLAIM"): {"longest": 11, "lanes": '{""}', "reading": "{}"},
    (broker_positions, "UNBLOCKED"): ([1, 2],),
    (time_exits, "DUE"): {"now": market_now()},
    (tick_monitor, "HITS"): ([1], ["EUR/USD"], [1], [1], [1], [1], [1.0]),
    (stop_rule_rows, "REACHED_RULES"): ([1], ["EUR/USD"], [1], [1]),
    (orders, "LOAD"): ([1, 2],),
    (orders, "OPEN_OF_SIGNAL"): (1,),
    (pending_actions, "LOCK"): {"lanes": '{""}'},
    (broker_levels, "ANY_DUE_LEVELS"): {"lanes": '{""}'},
    (level_sync, "LEVELS"): {"longest": 11, "lanes": '{""}'},
}
HAS_TIMES = {"OF_CLOSES", "OF_UNMONITORED_PAIRS"}  # planned below, with times
OF_ONE_ACCOUNT = {"OURS", "ENTERING"}  # planned below
PARTS = {"HELD_BACK", "_DUE_LEVELS"}  # of the statements above, as is what ends with _SQL
ONCE = {"UNMARK_ALL_MISSING"}  # after a restore
BY_IDS = re.compile(
    r"\b(id|position_id) = (ANY\()?%(\(id\))?s|FROM unnest\(%s|FROM requested WHERE"
)
LIVE = {
    "position_open", "position_open_by_signal", "position_open_by_source", "position_check_due",
    "position_breached", "position_without_stop", "position_unprotected", "position_level_sync",
    "watch_buy_sl", "watch_buy_tp", "watch_sell_sl", "watch_sell_tp", "order_pending",
    "order_pending_action",
    "order_with_broker", "order_in_flight", "order_partly_known", "stop_moves_buy",
    "stop_moves_sell",
}  # fmt: skip


def reads_live_rows(sql: str, parameters: Any) -> list[Any]:
    """Return the scans of the big tables that read more than live rows, or rows by their keys."""
    return [scan for scan in scans_of(plan(sql, parameters)) if not is_live(scan)]


def is_live(scan: dict[str, Any]) -> bool:
    """Whether a scan reads live rows only, or rows by their keys."""
    index = scan.get("Index Name")
    return by_key(scan) or index in LIVE or (index == "one_exit" and "Index Cond" in scan)


@pytest.fixture(scope="class")
def with_exits(pile: ExecutionConnection, django_db_blocker: Any) -> Iterator[ExecutionConnection]:
    with undone_at_the_end(django_db_blocker):
        close_all()
        yield pile


CLOSES = """
INSERT INTO execution_order (connection_id, signal_id, position_id, leg, pair, symbol,
  side, order_type, time_in_force, quantity, filled_quantity, status, client_order_id,
  answer_by, submitted_at, acknowledged_at, done_at)
SELECT connection_id, signal_id, id, 'sl', pair, symbol, 'SELL', 'MARKET', 'GTC', 1000,
  1000, 'FILLED', 'out' || id, now(), now(), now(), now()
FROM positions_executionposition WHERE quantity = 0
"""


def close_all() -> None:
    with without_triggers():
        run(CLOSES)
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
        if found := reads_live_rows(broker_positions.ENTERING, {"ids": [account]}):
            too_much["holdings", "ENTERING"] = found
        if found := reads_live_rows(broker_reads.UNMARK_MISSING, ([account], [1])):
            too_much["broker_reads", "UNMARK_MISSING"] = found
        assert too_much == {}

    def test_level_scan_finds_closes_by_their_index(
        self, with_exits: ExecutionConnection, alice: ExecutionConnection
    ) -> None:
        """Among all signals ever published; then their positions, one by one."""
        asked = {"since": market_now() - timedelta(days=7), "retry": 30}
        assert reads_live_rows(incomplete_closes.OF_CLOSES, asked) == []
        nodes = list(nodes_of(plan(incomplete_closes.OF_CLOSES, asked)))
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
            incomplete_closes,
            dust,
            stop_failover,
            unprotected_time,
            broker_positions,
            tick_monitor,
            orders,
            pending_actions,
            level_sync,
            stop_rules,
            stop_rule_rows,
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


OF_BUNDLES = LIVE | {"one_client_order_id", "one_exit", "order_waiting", "position_open"}


def test_kept_plans_of_bundles_find_their_rows_by_index(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """A plan is kept from a time when the tables were small; then they grow."""
    before = prepared()
    for _ in range(2):
        factories.signal(feed)
        factories.fill_all()
    kept = kept_since(before)
    assert len(kept) >= 8, kept
    with kept_plans():
        scans = {sql: list(scans_of(generic_plan(sql))) for sql in kept}
    unbounded = [
        (sql, scan["Node Type"], scan.get("Index Name"), scan.get("Index Cond"))
        for sql, found in scans.items()
        for scan in found
        if not by_key(scan) and not by_rows(scan)
    ]
    assert unbounded == []
    assert [scan for found in scans.values() for scan in found]


OF_TYPES = {"broker_types": f"{{{KIND}}}", "lanes": '{""}', "limit": 50}
STREAM_CLAIM = (stream_claims.CLAIM, {**OF_TYPES, "holder": "me"})
POLLS = (poll_claims.DUE, {**OF_TYPES, "lease": 1.0, "yesterday": market_now()})
PERIODIC: Sequence[tuple[str, Any]] = (
    STREAM_CLAIM,
    POLLS,
    (sweeps.DUE, {"priority": 9, "grace": 1, "limit": 500, "lanes": "{}"}),
    (sweeps.MARK_ORPHANED_UNKNOWN, ("me",)),
    (
        sweeps.CLAIM_LOOKUPS,
        {"first": 2, "longest": 60, "claim": 31, "worker_id": "", "lanes": "{}"},
    ),
    (pending_actions.LOCK, {"lanes": "{}"}),
    (broker_levels.ANY_DUE_LEVELS, {"lanes": "{}"}),
    (broker_positions.CLAIM, {"longest": 11, "lanes": "{}", "reading": "{}"}),
    (unprotected_time.UNMONITORED, None),
    (incomplete_closes.OF_CLOSES, {"since": market_now(), "retry": 30}),
    (incomplete_closes.OF_PAUSES, {"since": market_now(), "retry": 30}),
    (incomplete_closes.OF_HALTS, {"since": market_now(), "retry": 30}),
    (level_monitor.HITS, None),
    (stop_failover.PASSED, None),
    (stop_failover.REQUEST_READ, None),
    (stop_failover.MAY_TAKE_OVER, None),
    (unprotected_time.UNCONFIRMED, None),
    (condition_watch.WAKE, {"now": market_now()}),
    (signal_changes.DUE, None),
    (order_ends.PROLONGED, None),
    (passed_entries.PASSED_RESTS, None),
    (condition_exits.ENTRIES, {"limit": 100}),
    (change_statements.ANY_DUE, None),
    (
        selectors.accounts_due_sql(),
        {"older": 60.0, "limit": 50, "lanes": "{}", "idle_ids": "{}"},
    ),
)


OF_PERIODIC = {
    "order_lookup", "order_condition", "order_prolonged", "order_exit_condition",
}  # fmt: skip
OF_SIGNAL = {"one_entry", "position_of_entry"}


def test_kept_plans_of_periodic_jobs_touch_live_rows_only(piled_up: Order) -> None:
    """Their plans hold for all parameters, and for tables that have grown since."""
    before = prepared()
    for sql, parameters in PERIODIC:
        periodic_rows(sql, parameters)
    kept = kept_since(before)
    assert len(kept) == len(PERIODIC)
    with kept_plans():
        scans = [(sql, scan) for sql in kept for scan in scans_of(generic_plan(sql))]
    found = [
        (sql, scan["Node Type"], scan.get("Index Name"))
        for sql, scan in scans
        if not is_live(scan) and scan.get("Index Name") not in OF_PERIODIC
        if not (by_rows(scan) or (scan.get("Index Name") in OF_SIGNAL and "Index Cond" in scan))
    ]
    assert scans
    assert found == []
    with kept_plans():
        nodes = [node for sql in kept for node in nodes_of(generic_plan(sql))]
    changes = [node for node in nodes if node.get("Relation Name") == "execution_entrychange"]
    of_order = [node for node in changes if node.get("Index Name") == "change_of_order"]
    assert all("Index Cond" in node for node in of_order)
    assert {node.get("Index Name") for node in changes if node not in of_order} == {
        "one_waiting_change", "change_due",
    }  # fmt: skip


def by_rows(scan: dict[str, Any]) -> bool:
    """Whether the rows of a bundle, or the live ones of its accounts, are fetched by an index."""
    if scan["Node Type"] == "BitmapOr":
        return all(by_key(part) or by_rows(part) for part in scan["Plans"])
    return scan.get("Index Name") in OF_BUNDLES and "Index Cond" in scan


def generic_plan(sql: str) -> dict[str, Any]:
    """Return the plan that a session keeps."""
    raw = connection.connection
    (explained,) = raw.execute(f"EXPLAIN (FORMAT JSON, GENERIC_PLAN) {sql}").fetchone()
    found: dict[str, Any] = explained[0]["Plan"]
    return found


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


WORKING = """
INSERT INTO execution_order (connection_id, position_id, leg, pair, symbol, side, order_type,
  time_in_force, limit_price, quantity, filled_quantity, status, client_order_id, answer_by,
  submitted_at, acknowledged_at)
SELECT connection_id, id, 'close-1', pair, symbol, 'SELL', 'LIMIT', 'GTC', 1.2, 1000, 0,
  'SUBMITTED', 'working' || id, now(), now(), now()
FROM positions_executionposition WHERE quantity = 0
"""


def test_orders_in_flight_are_not_sought_among_those_that_work(piled_up: Order) -> None:
    """Run each second, beside ten thousand orders that rest at their brokers."""
    with without_triggers():
        run(WORKING)
    run("ANALYZE execution_order")
    for name in ("take over", "stale unknown"):
        sql, parameters, _ = STATEMENTS[name]
        (row,) = rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)
        scans = [scan for scan in scans_of(row[0][0]["Plan"]) if not by_key(scan)]
        assert {scan.get("Index Name") for scan in scans} == {"order_in_flight"}, name
        read = sum(scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) for scan in scans)
        assert read <= 1, name


def test_halt_reads_live_rows_only(piled_up: Order) -> None:
    """What it touches, and each round of what it cancels; it may be the first after a big day."""
    with CaptureQueriesContext(connection) as captured:
        halt_actions.halt_impact(HaltTarget("ALL"))
        for flatten in (False, True):
            set_kill_switch(
                scope="ALL", mode="REDUCING", reason="test", by=None, cancel_entries=True,
                flatten=flatten,
            )  # fmt: skip
            halt_actions.carry_out_halts()
    asked = [one["sql"] for one in captured if any(table in one["sql"] for table in BIG)]
    scans = [(sql, scan) for sql in asked for scan in scans_of(plan(sql, None))]
    assert len(scans) > 8
    found = [
        (sql, part["Node Type"], part.get("Index Name"))
        for sql, scan in scans
        for part in nodes_of(scan)
        if part["Node Type"] not in ("BitmapOr", "Bitmap Heap Scan")
        if not is_live(part) and part.get("Index Name") != "order_route_failed"
    ]
    assert found == []


ARMED = 1_300
TRIGGERS = f"""
INSERT INTO execution_ordertrigger (order_id, connection_id, kind, sent_as, source_id, pair, side,
  level, distance, activation_price, active_since, is_armed, fired_at)
SELECT id, connection_id, kind, 'MARKET', 1, 'EUR/USD', side,
  CASE WHEN n % 16 <> 0 THEN CASE WHEN (side = 'BUY') = (kind <> 'IF_TOUCHED') THEN 2 ELSE 1 END
    END,
  CASE kind WHEN 'TRAILING' THEN 0.5 END, CASE WHEN n % 16 = 0 THEN
    CASE side WHEN 'BUY' THEN 1 ELSE 2 END END,
  CASE WHEN n % 16 <> 0 THEN clock_timestamp() - interval '1 hour' END, n <= {ARMED},
  CASE WHEN n > {ARMED} THEN now() END
FROM (
  SELECT id, connection_id, n, CASE n % 2 WHEN 0 THEN 'BUY' ELSE 'SELL' END AS side,
    CASE n / 2 % 8 WHEN 0 THEN 'TRAILING' WHEN 1 THEN 'TRAILING' WHEN 2 THEN 'IF_TOUCHED'
      ELSE 'STOP' END AS kind
  FROM (SELECT id, connection_id, row_number() OVER (ORDER BY id) - 1 AS n FROM execution_order
    WHERE status = 'FILLED') o) t
"""


def test_batch_of_quotes_reads_no_trigger_that_it_does_not_reach(piled_up: Order) -> None:
    """Among more than a thousand that are armed for the pair, and many that have fired."""
    run(TRIGGERS)
    for began in range(3):
        run(
            "INSERT INTO execution_pricepeak (source_id, pair, side, began_at, price)"
            " SELECT 1, 'EUR/USD', side, clock_timestamp() - make_interval(mins => %s), 1.5"
            " FROM (VALUES ('BUY'), ('SELL')) s(side)",
            (began,),
        )
    run("ANALYZE execution_ordertrigger, execution_pricepeak")
    one = ([1], ["EUR/USD"], [1.49], [1.51], [1.49], [1.51], [0.02], [0.02], [1.0])
    asked = dict(zip(trigger_monitor.REACHED_COLUMNS, one, strict=True))
    (row,) = rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {trigger_monitor.REACHED}", asked)
    nodes = list(nodes_of(row[0][0]["Plan"]))
    assert "execution_ordertrigger" not in [
        node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"
    ]
    scans = [node for node in nodes if node.get("Index Name", "").startswith("trigger_")]
    assert len(scans) == 11
    for scan in scans:
        assert "Index Cond" in scan, scan
        read = scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)
        assert read <= 2, (
            scan["Index Name"],
            scan["Index Cond"],
            scan.get("Filter"),
            read,
        )  # whether there are any, and the newest trailing stop of a side
    found = rows(trigger_monitor.REACHED, asked)  # the prices pass both sides' newest peaks
    assert [one.order_id for one in found] == [None, None]


def test_batch_of_quotes_reads_live_prices_of_polled_accounts_only(piled_up: Order) -> None:
    """Beside ten thousand ended orders, and as many positions whose levels are not reached."""
    source = ExecutionConnection.objects.get(pk=piled_up.connection_id).data_connection_id
    run(
        "UPDATE execution_order SET status = 'SUBMITTED', order_type = 'LIMIT', limit_price = 1.5"
        " WHERE id = %s", (piled_up.pk,),
    )  # fmt: skip
    run(
        "UPDATE positions_executionposition SET quantity = 1000, closed_at = NULL, sl = 1, tp = 2,"
        " sl_guardian = 'BROKER', tp_guardian = 'BROKER', broker_sl = 1, broker_tp = 2,"
        " price_source_id = %s", (source,),
    )  # fmt: skip
    run(
        "UPDATE positions_executionposition SET side = 'SELL', sl = 2, tp = 1, broker_sl = 2,"
        " broker_tp = 1 WHERE id % 2 = 0"
    )
    run("ANALYZE positions_executionposition")
    nodes = nodes_of_reached(of := prices_at({source: ["EUR/USD"]}, D("1.5")))
    assert all(
        node["Node Type"] != "Seq Scan" for node in nodes if node.get("Relation Name") in BIG
    )
    scans = [node for node in nodes if node.get("Index Name", "").startswith(("order_", "watch_"))]
    watched = {f"watch_{side}_{level}" for side in ("buy", "sell") for level in ("sl", "tp")}
    assert {node["Index Name"] for node in scans} == {"order_with_broker", *watched}
    assert all("Index Cond" in node for node in scans)
    read = [node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in scans]
    assert sum(read) == 1
    (found,) = rows(held_prices.REACHED, of)
    assert (found.kind, found.id, found.connection_id) == (
        "order", piled_up.pk, piled_up.connection_id,
    )  # fmt: skip


def test_batch_of_many_pairs_walks_the_orders_of_each_account_once(piled_up: Order) -> None:
    """However many pairs have prices, and from whichever source."""
    account = ExecutionConnection.objects.get(pk=piled_up.connection_id)
    others = [copy_of(account, number) for number in range(ACCOUNTS - 1)]
    ExecutionConnection.objects.bulk_create(others)
    elsewhere = make.connection(type=KIND)  # of another source
    AccountSyncState.objects.bulk_create(
        [AccountSyncState(connection=one) for one in (*others, elsewhere)], ignore_conflicts=True
    )
    Order.objects.filter(pk=piled_up.pk).update(
        status="SUBMITTED", order_type="LIMIT", limit_price=D("1.5")
    )
    run("ANALYZE connections_executionconnection, execution_accountsyncstate, execution_order")
    pairs = ["EUR/USD", *(f"X{number}/USD" for number in range(PAIRS - 1))]
    sources = {account.data_connection_id: pairs, elsewhere.data_connection_id: pairs[:5]}
    nodes = nodes_of_reached(of := prices_at(sources, D("1.5")))
    walks = [node for node in nodes if node.get("Index Name") == "order_with_broker"]
    assert [round(node["Actual Loops"]) for node in walks] == [ACCOUNTS + 1]
    (found,) = rows(held_prices.REACHED, of)
    assert found.id == piled_up.pk


def prices_at(pairs_of_sources: dict[Any, list[str]], price: D) -> dict[str, str]:
    """The parameters of `held_prices.REACHED` for pairs that stand at one price."""
    listed = [(source, pair) for source, pairs in pairs_of_sources.items() for pair in pairs]
    names = ("low_bid", "high_bid", "low_ask", "high_ask")
    return {
        "broker_types": array([KIND]), "source_id": array(source for source, _ in listed),
        "pair": array(pair for _, pair in listed),
        **dict.fromkeys(names, array([price] * len(listed))),
    }  # fmt: skip


def nodes_of_reached(of: dict[str, str]) -> list[dict[str, Any]]:
    """Run the statement; return the nodes of its plan."""
    with transaction.atomic(), kept_plans():  # as `periodic_rows` plans it
        (row,) = rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {held_prices.REACHED}", of)
    return list(nodes_of(row[0][0]["Plan"]))


def test_upkeep_reads_armed_triggers_only(piled_up: Order) -> None:
    run(TRIGGERS)
    run("ANALYZE execution_ordertrigger, execution_pricepeak")
    for statement in (trigger_upkeep.DISARM_ENDED, trigger_upkeep.WAKE_MOVED):
        scans = [
            node
            for node in nodes_of(plan(statement, None))
            if node.get("Relation Name") == "execution_ordertrigger"
            and node["Node Type"] != "ModifyTable"
        ]
        assert scans
        assert all(node["Node Type"] != "Seq Scan" for node in scans), (statement, scans)


@pytest.mark.parametrize("closes", [0, 30])
def test_condition_exits_do_not_read_all_open_positions(piled_up: Order, closes: int) -> None:
    """Each second, beside ten thousand positions that are open and have no such condition."""
    run("UPDATE positions_executionposition SET quantity = 1000, closed_at = NULL")
    run(
        "UPDATE positions_executionposition SET close_when_signal_id = %s,"
        " close_when_state = 'FILLED' WHERE id = ANY(ARRAY("
        "SELECT id FROM positions_executionposition ORDER BY id LIMIT %s))",
        (piled_up.signal_id, closes),
    )
    run("ANALYZE positions_executionposition")
    sql = condition_exits.POSITIONS
    (row,) = rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", {"limit": 100})
    read = [one for one in nodes_of(row[0][0]["Plan"]) if one.get("Alias") == "p"]
    assert [one["Index Name"] for one in read] == ["position_close_when"]
    assert read[0]["Actual Rows"] + read[0].get("Rows Removed by Filter", 0) == closes


UNKNOWN_TO_PLANNER = """
DELETE FROM pg_statistic WHERE starelid = ANY(%(tables)s::regclass[]);
UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE oid = ANY(%(tables)s::regclass[])
"""


def test_condition_exits_read_no_order_before_the_first_analyze(piled_up: Order) -> None:
    """A new installation that trades at once has no statistics yet: no join begins with orders."""
    run("UPDATE positions_executionposition SET quantity = 1000, closed_at = NULL")
    with connection.cursor() as cursor:
        cursor.execute(UNKNOWN_TO_PLANNER, {"tables": [*BIG, "signals_signal"]})
    (row,) = rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {condition_exits.POSITIONS}", {"limit": 100})
    orders_read = [
        node for node in nodes_of(row[0][0]["Plan"])
        if node.get("Relation Name") == "execution_order" and node["Actual Loops"]
    ]  # fmt: skip
    assert orders_read == []


def test_claim_finds_open_positions_by_index(piled_up: Order) -> None:
    of = {
        "connections": array([str(piled_up.connection_id)]), "unanswered": 1, "pairs": ["EUR/USD"],
        "netting": array([str(piled_up.connection_id)]),
    }  # fmt: skip
    for sql in (claim_sql.EXPOSURE, claim_sql.OPEN_SIDES):
        scans = scans_of(plan(sql, of))
        names = {scan.get("Index Name") for scan in scans if not by_key(scan)}
        assert names <= {
            "order_partly_known", "order_with_broker", "order_waiting", "position_open",
        }  # fmt: skip
    loaded = list(scans_of(plan(claim_sql.LOAD, (array([piled_up.pk]),))))
    assert len(loaded) == 3  # the orders, the other legs of pairs, and the plans of slices
    assert all(by_key(scan) for scan in loaded)


def test_what_an_account_has_sent_is_found_by_index(piled_up: Order) -> None:
    """Never among all orders that it has ever had."""
    run("UPDATE execution_order SET submitted_at = now() - interval '1 day' - id * interval '1 s'")
    run("ANALYZE execution_order")
    yesterday = datetime.now(UTC) - timedelta(hours=20)
    asked = (1, piled_up.connection_id, "EUR/USD", "BUY", 1, yesterday, True, True, True, 60.0)
    found = list(scans_of(plan(recent.RECENT, columns([asked], len(asked)))))
    names = {scan.get("Index Name") for scan in found if not by_key(scan)}
    assert names <= {
        "order_partly_known", "order_sent", "order_waiting", "order_with_broker", "position_open",
    }  # fmt: skip
    assert all("Index Cond" in scan for scan in found if scan.get("Index Name") == "order_sent")


def test_entries_of_a_signal_are_summed_by_index(piled_up: Order) -> None:
    found = list(scans_of(plan(signal_limits.SENT, (array([piled_up.signal_id]),))))
    assert {scan.get("Index Name") for scan in found} == {"one_entry"}


def test_remembered_parts_are_found_by_their_index(piled_up: Order) -> None:
    """Each second, beside ten thousand ended orders that remember nothing."""
    [scan] = scans_of(plan(partial_closes.LOCK_DUE, None))
    assert scan["Index Name"] == "order_close_fraction"
    scans = list(scans_of(plan(partial_closes.DUE_PARTS, ([1],))))
    names = {scan["Index Name"] for scan in scans if not by_key(scan)}
    assert names <= {"order_close_fraction", "position_open", "position_open_by_signal"}
    of = {"fraction": "0.5", "signal_id": 1, "refers_to": piled_up.signal_id, "detail": ""}
    found = scans_of(plan(partial_closes.REMEMBER, of))
    assert {scan.get("Index Name") for scan in found} == {"one_entry"}


def test_entry_of_a_position_is_found_by_its_signal(piled_up: Order) -> None:
    """Never among all orders that its account has ever had: a claim of 500 exits took seconds."""
    one = {"ids": '{"x"}', "connection": str(piled_up.connection_id)}
    statements: dict[str, tuple[str, Any]] = {
        "exits of a claim": (claim_sql.EXITS, ([1],)),
        "holdings": (broker_positions.OURS, ([piled_up.connection_id],)),
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


def test_entry_of_a_position_is_found_by_its_key(piled_up: Order) -> None:
    """Where many accounts trade, a join was planned as a read of all that they ever sent."""
    one = {"ids": '{"x"}', "connection": str(piled_up.connection_id)}
    statements: dict[str, tuple[str, Any]] = {
        "holdings": (broker_positions.OURS, ([piled_up.connection_id],)),
        "dust": (dust.FIND_DUST, ()),
        "beyond": (overfills.WAITS, (one["ids"], one["connection"])),
        "levels": (level_sync.LEVELS, {"longest": 11, "lanes": '{""}'}),
        "tickets": (broker_queries.ENTRY_OF, ([piled_up.connection_id], ["t"])),
        "missing": (missing_positions.PRICES, ([1],)),
    }
    run("SET LOCAL enable_nestloop = off")  # as if the planner expected too many positions for it
    for name, (sql, parameters) in statements.items():
        scans = scans_of(plan(sql, parameters))
        (entry,) = [scan for scan in scans if scan.get("Alias") == "entry"]
        assert entry.get("Index Name") == "one_entry", (name, entry)


def test_orders_of_a_position_are_found_by_its_keys(piled_up: Order) -> None:
    """What is rare, and runs while something is wrong. The account may have traded for years."""
    account = piled_up.connection_id
    now = {"opened_at": "2026-01-01T00:00Z", "answer_by": "2026-01-01T00:00Z", "ids": [1]}
    statements: dict[str, tuple[str, Any]] = {
        "rebuild": (position_rebuild.REBUILD, {"ids": [1]}),
        "correction": (auto_correction.LOCK_ORDERS, (account, "t")),
        "held exits": (netting_exits.HELD_EXITS, now | {"lanes": '{""}'}),
        "releasable exits": (RELEASABLE_EXITS, now | {"unsent": [1]}),
    }
    for name, (sql, parameters) in statements.items():
        found = {scan.get("Index Name") for scan in scans_of(plan(sql, parameters))}
        assert "one_entry" in found, (name, found)
        assert "order_of_connection" not in found, (name, found)


def test_positions_of_one_ticket_are_found_by_it(piled_up: Order) -> None:
    """Run each second for a polled account, which has had ten thousand positions."""
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
    orders = {
        "order_with_broker", "order_pending", "order_route_failed", "order_partly_known",
    }  # fmt: skip
    assert orders <= {*names} <= orders | {"position_open", "position_open_by_signal"}, names


def test_pair_of_a_word_is_searched_among_the_newest_trades(piled_up: Order, feed: Feed) -> None:
    """An alert of a symbol without a currency; its feed has had ten thousand trades."""
    asked = {"feed": feed.pk, "base": "EUR/"}
    explained = rows(f"EXPLAIN {RECENTLY_TRADED}", asked)
    text = "\n".join(row[0] for row in explained)
    assert "using signal_feed_published on signals_signal" in text
    assert "Seq Scan" not in text
    assert [row.pair for row in rows(RECENTLY_TRADED, asked)] == ["EUR/USD"]


def test_pairs_of_a_base_are_read_one_step_each(piled_up: Order, feed: Feed) -> None:
    """Which pairs a feed has ever traded, without reading its ten thousand trades."""
    asked = {"feed": feed.pk, "prefix": "EUR/"}
    (row,) = rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {TRADED_PAIRS}", asked)
    scans = [one for one in nodes_of(row[0][0]["Plan"]) if "signals_signal" in one.values()]
    assert [one.get("Index Name") for one in scans] == ["signal_opened_trades"] * 2
    assert all(one["Actual Rows"] <= 1 for one in scans), scans
    assert [row.pair for row in rows(TRADED_PAIRS, asked)] == ["EUR/USD"]


OFF = 3_000


def read_accounts_of(sql: str, parameters: Any) -> int:
    """Run a query; return how many rows it has read of connections and of what belongs to each."""
    with kept_plans():
        (row,) = rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)
    tables = (
        "connections_executionconnection", "connections_accountsnapshot",
        "execution_accountsyncstate",
    )  # fmt: skip
    scans = [one for one in nodes_of(row[0][0]["Plan"]) if one.get("Relation Name") in tables]
    assert scans
    return sum(
        round((one["Actual Rows"] + one.get("Rows Removed by Filter", 0)) * one["Actual Loops"])
        for one in scans
    )


def test_loss_limits_read_no_account_if_there_is_none() -> None:
    """Each second, in each process with exits, beside thousands of accounts."""
    factories.register()
    alice = factories.account()
    preset, others = make.preset(), [copy_of(alice, number) for number in range(OFF)]
    for other in others:
        other.preset = preset
    with without_triggers():
        ExecutionConnection.objects.bulk_create(others)
    run(
        """INSERT INTO connections_accountsnapshot (connection_id, currency, balance, equity,
          margin_used, free_margin, leverage, position_mode, read_at)
        SELECT id, 'USD', 1, 1, 0, 1, 1, 'HEDGING', now() FROM connections_executionconnection
        WHERE id <> %s
        ON CONFLICT DO NOTHING""",
        (alice.pk,),
    )
    asked = {"closed": [], "closed_at": [], "limit": 200}
    assert read_accounts_of(figures.DUE, asked) == 0
    run("ANALYZE connections_executionconnection, connections_accountsnapshot,"
        " connections_losslimit, connections_subscription")  # fmt: skip
    assert read_accounts_of(figures.DUE, asked) == 0
    assert alice.preset is not None
    limit_of(alice.preset)
    assert [row.connection_id for row in rows(figures.DUE, asked)] == [alice.pk]


def with_other_accounts(of: ExecutionConnection, broker_type: str) -> None:
    """Thousands of accounts of a broker type, with nothing open."""
    others = [copy_of(of, number) for number in range(OFF)]
    for other in others:
        other.type = broker_type
    with without_triggers():
        ExecutionConnection.objects.bulk_create(others)
    run("INSERT INTO execution_accountsyncstate (connection_id)"
        " SELECT id FROM connections_executionconnection ON CONFLICT DO NOTHING")  # fmt: skip
    run("ANALYZE connections_executionconnection, execution_accountsyncstate")


def executed(sql: str, parameters: Any) -> str:
    """Run a periodic query; return SQL that runs the plan which the session has kept of it."""
    before = prepared()
    periodic_rows(sql, parameters)
    [name] = {name for name, figures in prepared().items() if before.get(name) != figures}
    names = dict.fromkeys(re.findall(r"%\((\w+)\)s", sql))
    values = ", ".join(f"'{parameters[one]}'" for one in names)
    return f'EXECUTE "{name}" ({values})'


@pytest.mark.parametrize(("sql", "parameters"), [STREAM_CLAIM, POLLS], ids=["streams", "polls"])
def test_no_account_is_read_for_broker_types_without_any(
    piled_up: Order, sql: str, parameters: Any
) -> None:
    """Each second, in each trading process of an installation of paper accounts."""
    with_other_accounts(piled_up.connection, "paper")
    types = ["none", "of_these", "zero"]
    asked = {**parameters, "broker_types": array(types)}
    assert read_accounts_of(executed(sql, asked), None) <= len(types)  # the next one in the index


@pytest.mark.parametrize("with_orders", ["paper", KIND])
def test_accounts_to_listen_to_are_found_from_what_is_open(
    piled_up: Order, with_orders: str
) -> None:
    """Beside thousands with nothing open, and beside one order of another broker type."""
    with_other_accounts(piled_up.connection, KIND)
    ExecutionConnection.objects.filter(pk=piled_up.connection_id).update(type=with_orders)
    sql, parameters = STREAM_CLAIM
    assert read_accounts_of(executed(sql, parameters), None) < 20
    run("UPDATE execution_accountsyncstate SET stream_holder = ''")
    expected = [piled_up.connection_id] if with_orders == KIND else []
    assert [row.connection_id for row in periodic_rows(sql, parameters)] == expected


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
    then = market_now() - timedelta(days=1)
    with without_triggers():
        ExecutionConnection.objects.bulk_create(others)
        ConnectionHealth.objects.bulk_create(
            [ConnectionHealth(connection=one, status="ACTIVE", last_connected_at=then,
                              unreachable_at=then, last_error_at=then) for one in others]
        )  # fmt: skip
    run("ANALYZE connections_executionconnection, connections_connectionhealth")


class TestSwitchedOff:
    """Many accounts are off and silent beside the one of the live order, which is off too."""

    @pytest.mark.parametrize("lanes", ['{""}', "{sessions.1,mt5.main}"])
    def test_open_exposure_is_found_by_index(
        self, switched_off: ExecutionConnection, alice: ExecutionConnection, lanes: str
    ) -> None:
        """For each of thousands of accounts that are off, every few seconds."""
        common = {"lanes": lanes, "limit": 500, "queried": "{}"}
        at = {"older": 45, "idle_ids": "{}"}
        all_of_them = {"ids": "{}", "done": "{}", "selected_at": "{}"}
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
            # One account or source by its index, or all live rows hashed once.
            assert found <= {
                "position_open", "position_open_by_signal", "position_open_by_source",
                "order_with_broker", "order_partly_known",
            }, (name, found)  # fmt: skip

    def test_accounts_that_wait_for_a_comparison_are_found_by_index(
        self, switched_off: ExecutionConnection
    ) -> None:
        """Every other second in three processes, and mostly there are none."""
        run("UPDATE connections_connectionhealth SET reconciled_at = now()")
        run("INSERT INTO execution_accountsyncstate (connection_id)"
            " SELECT id FROM connections_executionconnection ON CONFLICT DO NOTHING")  # fmt: skip
        run("ANALYZE connections_connectionhealth, execution_accountsyncstate")
        which = {"ids": "{}", "done": "{}", "selected_at": "{}", "lanes": '{""}'}
        read = list(nodes_of(plan(reconcile.connections_sql(only_new=True), which)))
        used = {one.get("Index Name") for one in read}
        assert {"health_not_reconciled", "comparison_requests"} <= used
        whole = {one["Relation Name"] for one in read if one["Node Type"] == "Seq Scan"}
        assert whole <= {"connections_hostcircuit"}  # it is empty here

    def test_users_of_a_price_source_are_found_by_index(
        self, switched_off: ExecutionConnection, alice: ExecutionConnection
    ) -> None:
        """Run each second in each trading process, for sources that all open positions use, and
        for sources that none uses: there the planner assumes that some of so many are soon
        found."""
        run("UPDATE positions_executionposition SET quantity = 1000, closed_at = NULL,"
            " price_source_id = %s", (alice.data_connection_id,))  # fmt: skip
        for table in BIG:
            factories.force(
                f"UPDATE {table} t SET connection_id = c.ids[t.id %% 3000 + 1] FROM"
                " (SELECT array_agg(id) AS ids FROM connections_executionconnection) c"
                " WHERE %s", (True,))  # fmt: skip
            run(f"ANALYZE {table}")
        used = f"SELECT id FROM connections_dataconnection d WHERE {is_used_sql('d.id')}"
        [scan] = scans_of(plan(used, None))
        assert (scan["Index Name"], "Index Cond" in scan) == ("position_open_by_source", True)
        for source in (0, alice.data_connection_id):
            found = list(
                scans_of(plan(symbol_selection.required_pairs_sql(), {"sources": f"{{{source}}}"}))
            )
            assert {scan.get("Index Name") for scan in found} == {
                "position_open_by_source", "order_of_connection",
            }  # fmt: skip
            assert all("Index Cond" in scan for scan in found)


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


def by_key(scan: dict[str, Any]) -> bool:
    """Whether rows are fetched one by one: by id, the entry of a signal, the leg of a pair."""
    keys = {
        "execution_order_pkey", "positions_executionposition_pkey", "one_entry",
        "one_oco_leg_fires", "one_routed_entry", "position_of_entry",
    }  # fmt: skip
    return scan.get("Index Name") in keys and "Index Cond" in scan
