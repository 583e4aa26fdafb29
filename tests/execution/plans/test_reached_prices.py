"""A batch of quotes reads what its prices reach, however many triggers and levels there are."""

from decimal import Decimal as D
from typing import Any

import pytest
from django.db import transaction

from common.db.sql import array, kept_plans, rows, run
from connections.models import ExecutionConnection
from execution.models import Order
from execution.monitoring import held_prices, trigger_monitor, trigger_upkeep
from tests.connections import make
from tests.execution.fake_broker import KIND
from tests.execution.plans.explained import Node, executed, planned
from tests.execution.plans.rules import Rule, check
from tests.execution.query_plans import copy_account

pytestmark = [pytest.mark.django_db]  # it inserts many rows

ACCOUNTS, PAIRS = 300, 30
ARMED = 130
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
PEAKS = """
INSERT INTO execution_pricepeak (source_id, pair, side, began_at, price)
SELECT 1, 'EUR/USD', side, clock_timestamp() - make_interval(mins => began), 1.5
FROM (VALUES ('BUY'), ('SELL')) s(side), generate_series(0, 2) began
"""
OF_TRIGGERS = frozenset({
    "trigger_armed", "trigger_beyond", "trigger_if_touched", "trigger_trailing",
    "trigger_active_since", "trigger_activation",
})  # fmt: skip
WATCHED = frozenset(f"watch_{side}_{level}" for side in ("buy", "sell") for level in ("sl", "tp"))


@pytest.fixture
def triggers(live_order: Order) -> None:
    """More than a hundred triggers that are armed for the pair, and many that have fired."""
    run(TRIGGERS)
    run(PEAKS)
    run("REINDEX TABLE execution_ordertrigger")  # without the pages of rows that were undone
    run("ANALYZE execution_ordertrigger, execution_pricepeak")


@pytest.mark.usefixtures("triggers")
def test_batch_of_quotes_reads_no_trigger_that_it_does_not_reach() -> None:
    one = ([1], ["EUR/USD"], [1.49], [1.51], [1.49], [1.51], [0.02], [0.02], [1.0])
    asked = dict(zip(trigger_monitor.REACHED_COLUMNS, one, strict=True))
    rule = Rule(
        "reads whether there are triggers, and the newest trailing stop of a side",
        seeking=OF_TRIGGERS, tables=("execution_ordertrigger",), by_keys=False, count=11,
        rows_each=2,
    )  # fmt: skip
    check([("trigger_monitor.REACHED", executed(trigger_monitor.REACHED, asked), rule)])
    found = rows(trigger_monitor.REACHED, asked)  # the prices pass both sides' newest peaks
    assert [one.order_id for one in found] == [None, None]


@pytest.mark.usefixtures("triggers")
def test_upkeep_reads_armed_triggers_only() -> None:
    rule = Rule(
        "reads armed triggers by index", by_any=True, least=1, by_keys=False,
        tables=("execution_ordertrigger",),
    )  # fmt: skip
    check(
        (f"trigger_upkeep.{name}", planned(getattr(trigger_upkeep, name), None), rule)
        for name in ("DISARM_ENDED", "WAKE_MOVED")
    )


def test_batch_of_quotes_reads_live_prices_of_polled_accounts_only(live_order: Order) -> None:
    """Beside thousands of ended orders, and as many positions whose levels are not reached."""
    source = live_order.connection.data_connection_id
    run(
        "UPDATE execution_order SET status = 'SUBMITTED', order_type = 'LIMIT', limit_price = 1.5"
        " WHERE id = %s", (live_order.pk,),
    )  # fmt: skip
    run(
        "UPDATE positions_executionposition SET quantity = 1000, closed_at = NULL,"
        " sl_guardian = 'BROKER', tp_guardian = 'BROKER', price_source_id = %s,"
        " side = CASE id %% 2 WHEN 0 THEN 'SELL' ELSE 'BUY' END,"
        " sl = 1 + (id + 1) %% 2, tp = 1 + id %% 2, broker_sl = 1 + (id + 1) %% 2,"
        " broker_tp = 1 + id %% 2", (source,),
    )  # fmt: skip
    run("ANALYZE positions_executionposition")
    indexes = WATCHED | {"order_with_broker"}
    rule = Rule(
        "reads the one price that is reached", seeking=indexes, required=indexes, rows=range(1, 2)
    )
    of = prices_at({source: ["EUR/USD"]}, D("1.5"))
    check([("held_prices.REACHED", plan_of_reached(of), rule)])
    (found,) = rows(held_prices.REACHED, of)
    assert (found.kind, found.id, found.connection_id) == (
        "order", live_order.pk, live_order.connection_id,
    )  # fmt: skip


def test_batch_of_many_pairs_walks_the_orders_of_each_account_once(live_order: Order) -> None:
    """However many pairs have prices, and from whichever source."""
    account = ExecutionConnection.objects.get(pk=live_order.connection_id)
    copy_account(account, ACCOUNTS - 1)
    elsewhere = make.connection(type=KIND)  # of another source
    run("INSERT INTO execution_accountsyncstate (connection_id)"
        " SELECT id FROM connections_executionconnection ON CONFLICT DO NOTHING")  # fmt: skip
    Order.objects.filter(pk=live_order.pk).update(
        status="SUBMITTED", order_type="LIMIT", limit_price=D("1.5")
    )
    run("ANALYZE connections_executionconnection, execution_accountsyncstate, execution_order")
    pairs = ["EUR/USD", *(f"X{number}/USD" for number in range(PAIRS - 1))]
    sources = {account.data_connection_id: pairs, elsewhere.data_connection_id: pairs[:5]}
    of = prices_at(sources, D("1.5"))
    index = frozenset({"order_with_broker"})
    rule = Rule(
        "walks the orders of each account once", by=index, tables=("execution_order",), count=1,
        loops=range(ACCOUNTS + 1, ACCOUNTS + 2),
    )  # fmt: skip
    check([("held_prices.REACHED", plan_of_reached(of), rule)])
    (found,) = rows(held_prices.REACHED, of)
    assert found.id == live_order.pk


def prices_at(pairs_of_sources: dict[Any, list[str]], price: D) -> dict[str, str]:
    """The parameters of `held_prices.REACHED` for pairs that stand at one price."""
    listed = [(source, pair) for source, pairs in pairs_of_sources.items() for pair in pairs]
    names = ("low_bid", "high_bid", "low_ask", "high_ask")
    return {
        "broker_types": array([KIND]), "source_id": array(source for source, _ in listed),
        "pair": array(pair for _, pair in listed),
        **dict.fromkeys(names, array([price] * len(listed))),
    }  # fmt: skip


def plan_of_reached(of: dict[str, str]) -> Node:
    with transaction.atomic(), kept_plans():  # as `periodic_rows` plans it
        return executed(held_prices.REACHED, of)
