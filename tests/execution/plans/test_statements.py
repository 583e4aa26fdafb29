"""Periodic queries read live rows only, however many old rows there are: each statement finds its
rows by a partial index."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from common.db.sql import rows, run
from connections.models import ExecutionConnection
from connections.services import HaltTarget, set_kill_switch
from execution.models import Order
from execution.monitoring import condition_exits, halt_actions
from execution.recovery import stale_orders, sweeps
from signals.models import Feed
from signals.open_signals import TRADED_PAIRS
from signals.symbol_completion import RECENTLY_TRADED
from tests.execution.plans import claims, exits, positions
from tests.execution.plans.cases import Case, check_plans
from tests.execution.plans.explained import executed, planned
from tests.execution.plans.rules import BIG, Rule, check, live_rows
from tests.execution.plans.sweeps import SWEEPS
from tests.execution.query_plans import undone_at_the_end, without_triggers

pytestmark = [pytest.mark.django_db]  # it inserts many rows

CLOSES = """
INSERT INTO execution_order (connection_id, signal_id, position_id, leg, pair, symbol,
  side, order_type, time_in_force, quantity, filled_quantity, status, client_order_id,
  answer_by, submitted_at, acknowledged_at, done_at)
SELECT connection_id, signal_id, id, 'sl', pair, symbol, 'SELL', 'MARKET', 'GTC', 1000,
  1000, 'FILLED', 'out' || id, now(), now(), now(), now()
FROM positions_executionposition WHERE quantity = 0
"""
WORKING = """
INSERT INTO execution_order (connection_id, position_id, leg, pair, symbol, side, order_type,
  time_in_force, limit_price, quantity, filled_quantity, status, client_order_id, answer_by,
  submitted_at, acknowledged_at)
SELECT connection_id, id, 'close-1', pair, symbol, 'SELL', 'LIMIT', 'GTC', 1.2, 1000, 0,
  'SUBMITTED', 'working' || id, now(), now(), now()
FROM positions_executionposition WHERE quantity = 0
"""


@pytest.fixture(scope="class")
def each_closed_by_an_exit(pile: ExecutionConnection, django_db_blocker: Any) -> Iterator[None]:
    with undone_at_the_end(django_db_blocker):
        with without_triggers():
            run(CLOSES)
        run("ANALYZE execution_order")
        yield


@pytest.mark.usefixtures("each_closed_by_an_exit")
class TestExits:
    def test_level_scan_and_failover_read_live_rows_only(self, live_order: Order) -> None:
        check_plans(exits.EXITS, live_order)


def test_each_exit_statement_is_planned_or_selects_by_ids() -> None:
    assert list(exits.statements_without_a_case()) == []


def test_sweeps_touch_live_rows_only(live_order: Order) -> None:
    check_plans(SWEEPS, live_order)


@pytest.mark.parametrize(
    "table",
    [claims.CLAIMS, (claims.LOADS,), positions.ENTRIES_BY_SIGNAL, positions.ORDERS_BY_KEYS],
    ids=["what a claim reads", "what it loads", "entries", "orders of positions"],
)
def test_rows_of_a_signal_or_position_are_found_by_index(
    table: tuple[Case, ...], live_order: Order
) -> None:
    check_plans(table, live_order)


def test_entry_of_a_position_is_found_by_its_key(live_order: Order) -> None:
    """Where many accounts trade, a join was planned as a read of all that they ever sent."""
    run("SET LOCAL enable_nestloop = off")  # as if the planner expected too many positions for it
    check_plans(positions.ENTRIES_BY_KEY, live_order)


def test_positions_of_one_ticket_are_found_by_it(live_order: Order) -> None:
    """Run each second for a polled account, which has had thousands of positions."""
    run("UPDATE positions_executionposition SET broker_position_id = 't' || id")
    run("ANALYZE positions_executionposition")
    check_plans((positions.OF_TICKET,), live_order)


def test_what_an_account_has_sent_is_found_by_index(live_order: Order) -> None:
    run("UPDATE execution_order SET submitted_at = now() - interval '1 day' - id * interval '1 s'")
    run("ANALYZE execution_order")
    check_plans((claims.SENT_BEFORE,), live_order)


def test_orders_in_flight_are_not_sought_among_those_that_work(live_order: Order) -> None:
    """Run each second, beside thousands of orders that rest at their brokers."""
    with without_triggers():
        run(WORKING)
    run("ANALYZE execution_order")
    index = frozenset({"order_in_flight"})
    rule = Rule("reads no order that works", by=index, required=index, rows=range(2))
    check(
        (name, executed(sql, parameters), rule)
        for name, sql, parameters in (
            ("sweeps.MARK_ORPHANED_UNKNOWN", sweeps.MARK_ORPHANED_UNKNOWN, ("me",)),
            ("stale_orders.ALERT_STALE_UNKNOWN", stale_orders.ALERT_STALE_UNKNOWN, (60,)),
        )
    )


def test_halt_reads_live_rows_only(live_order: Order) -> None:
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
    assert len(asked) > 4
    rule = live_rows("order_route_failed")
    check((f"of a halt: {' '.join(sql.split())[:120]}", planned(sql, None), rule) for sql in asked)


def check_condition_exits(rule: Rule) -> None:
    sql = condition_exits.POSITIONS
    check([("condition_exits.POSITIONS", executed(sql, {"limit": 100}), rule)])


@pytest.mark.parametrize("closes", [0, 30])
def test_condition_exits_do_not_read_all_open_positions(live_order: Order, closes: int) -> None:
    """Each second, beside thousands of positions that are open and have no such condition."""
    run("UPDATE positions_executionposition SET quantity = 1000, closed_at = NULL")
    run(
        "UPDATE positions_executionposition SET close_when_signal_id = %s,"
        " close_when_state = 'FILLED' WHERE id = ANY(ARRAY("
        "SELECT id FROM positions_executionposition ORDER BY id LIMIT %s))",
        (live_order.signal_id, closes),
    )
    run("ANALYZE positions_executionposition")
    rule = Rule(
        "reads the positions with a condition only", by=frozenset({"position_close_when"}),
        alias="p", count=1, by_keys=False, rows=range(closes, closes + 1),
    )  # fmt: skip
    check_condition_exits(rule)


UNKNOWN_TO_PLANNER = """
DELETE FROM pg_statistic WHERE starelid = ANY(%(tables)s::regclass[]);
UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE oid = ANY(%(tables)s::regclass[])
"""


def test_condition_exits_read_no_order_before_the_first_analyze(live_order: Order) -> None:
    """A new installation that trades at once has no statistics yet: no join begins with orders."""
    run("UPDATE positions_executionposition SET quantity = 1000, closed_at = NULL")
    with connection.cursor() as cursor:
        cursor.execute(UNKNOWN_TO_PLANNER, {"tables": [*BIG, "signals_signal"]})
    rule = Rule(
        "no join begins with orders: none is looked up", tables=("execution_order",), by_keys=False,
        is_bounded=False, loops=range(1),
    )  # fmt: skip
    check_condition_exits(rule)


def test_pair_of_a_word_is_the_one_traded_last(live_order: Order, feed: Feed) -> None:
    """An alert of a symbol without a currency; how it is found is among the claims' cases."""
    found = rows(RECENTLY_TRADED, {"feed": feed.pk, "base": "EUR/"})
    assert [row.pair for row in found] == ["EUR/USD"]


def test_pairs_of_a_base_are_read_one_step_each(live_order: Order, feed: Feed) -> None:
    """Which pairs a feed has ever traded, without reading its thousands of trades."""
    asked = {"feed": feed.pk, "prefix": "EUR/"}
    rule = Rule(
        "reads one signal for each pair", by=frozenset({"signal_opened_trades"}), count=2,
        tables=("signals_signal",), by_keys=False, rows_each=1,
    )  # fmt: skip
    check([("open_signals.TRADED_PAIRS", executed(TRADED_PAIRS, asked), rule)])
    assert [row.pair for row in rows(TRADED_PAIRS, asked)] == ["EUR/USD"]
