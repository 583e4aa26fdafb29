"""Fees in another currency: reported late, corrected, without a rate; on the paper broker."""

import json
from dataclasses import replace
from decimal import Decimal as D
from itertools import permutations
from typing import Any

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from analytics.models import AnalyticsDaily
from analytics.services import compute_day
from brokers.types import OrderReport
from common.clocks import market_now
from common.db.sql import rows, run
from connections.models import AccountSnapshot, ExecutionConnection
from connections.trading_day import trading_date
from execution.audit.counters import audit
from execution.models import Fill, Order
from execution.reports import fees
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.reconciliation.test_paper import send, trading_account
from tests.fakes.paper_server.operations import set_terms
from users.services import create_api_key

__all__ = ["trading_account"]
pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """An order for 100 EUR/USD of a USD account, in flight."""
    factories.signal(feed)
    factories.claim_all()
    return Order.objects.get()


def paid(
    reported: OrderReport, fee: str, currency: str, revision: int = 0, **more: Any
) -> OrderReport:
    fill = replace(
        reported.fills[0],
        commission=D(fee),
        commission_currency=currency,
        revision=revision,
        **more,
    )
    return replace(reported, fills=(fill,))


def facts() -> tuple[Any, ...]:
    order = Order.objects.get(leg="entry")
    position = ExecutionPosition.objects.get()
    assert (order.commission, order.unconverted_fees) == (
        position.commission, position.unconverted_fees,
    )  # fmt: skip
    return position.quantity, position.commission, position.unconverted_fees


def test_late_fee_is_converted_when_it_arrives(entry: Order, alice: ExecutionConnection) -> None:
    factories.quote(alice, "1.25", "1.25", pair="GBP/USD")
    reported = factories.fill_report(entry, 100, "f1")
    factories.apply(reported)
    assert facts() == (100, 0, {})
    factories.apply(paid(reported, "2", "GBP", revision=1))
    assert facts() == (100, D("2.5"), {})
    fill = Fill.objects.get()
    assert (fill.commission, fill.commission_rate, fill.commission_converted) == (
        2, D("1.25"), D("2.5"),
    )  # fmt: skip
    assert fill.commission_rate_at is not None
    factories.apply(paid(reported, "4", "GBP", revision=3))
    assert facts() == (100, 5, {})


def test_fee_without_a_rate_is_stored_until_a_correction_finds_one(
    entry: Order, alice: ExecutionConnection
) -> None:
    reported = factories.fill_report(entry, 100, "f1")
    factories.apply(paid(reported, "2", "GBP"))
    assert facts() == (100, 0, {"GBP": "2"})
    factories.quote(alice, "1.25", "1.25", pair="GBP/USD")
    run("UPDATE prices_latestquote SET received_at = received_at - interval '61 seconds'")
    factories.apply(paid(reported, "3", "GBP", revision=1))
    assert facts() == (100, 0, {"GBP": "3"})  # a stale rate counts as none
    factories.quote(alice, "1.25", "1.25", pair="GBP/USD")
    factories.apply(paid(reported, "3", "GBP", revision=2))
    assert facts() == (100, D("3.75"), {})
    run("DELETE FROM prices_latestquote WHERE symbol = 'GBP/USD'")
    factories.apply(paid(reported, "4", "GBP", revision=3))
    assert facts() == (100, 5, {})  # at the stored rate


def test_fee_in_the_base_currency_is_converted_at_the_fills_price(entry: Order) -> None:
    factories.apply(paid(factories.fill_report(entry, 100, "f1", price="1.2"), "2", "EUR"))
    assert facts() == (
        100,
        D("2.4"),
        {},
    )  # the account pays all of it: the whole quantity was opened


def test_unsynced_account_has_no_rate(entry: Order) -> None:
    AccountSnapshot.objects.all().delete()
    factories.apply(paid(factories.fill_report(entry, 100, "f1"), "2", "USD"))
    assert facts() == (100, 0, {"USD": "2"})


def test_cumulative_report_and_fills_with_coin_fees_in_any_order(
    entry: Order, alice: ExecutionConnection
) -> None:
    """The cumulative report has no fee; in any order the position is its fills less their fees."""
    first = paid(factories.fill_report(entry, 60, "f1"), "0.06", "EUR", fee_in_base=D("0.06"))
    second = paid(factories.fill_report(entry, 40, "f2"), "0.04", "EUR", fee_in_base=D("0.04"))
    whole = factories.fill_report(entry, 100, "sum", inferred=True)
    late = paid(first, "0.12", "EUR", revision=1, fee_in_base=D("0.12"))
    for reports in permutations((first, second, whole, late)):
        with transaction.atomic():
            for report in reports:
                factories.apply(report)
            quantity, commission, beside = facts()
            assert (quantity, commission, beside) == (D("99.84"), D("0.176"), {}), reports
            assert Order.objects.get().filled_quantity == 100
            assert audit().counters["MISMATCH"] == 0
            close_position(ExecutionPosition.objects.get().pk)
            assert Order.objects.get(leg="close-1").quantity == D("99.84")
            transaction.set_rollback(True)


def test_fee_without_a_rate_reads_no_other_order_of_its_account(
    entry: Order, alice: ExecutionConnection
) -> None:
    factories.apply(paid(factories.fill_report(entry, 100, "f1"), "3", "BNB"))
    feed = Feed.objects.get()
    fields = {"feed": feed, "currency_pair": "EUR/USD", "direction": "BUY"}
    others = Signal.objects.bulk_create([Signal(**fields) for _ in range(2000)])
    run(
        "INSERT INTO execution_order (connection_id, signal_id, leg, pair, symbol, side,"
        " order_type, time_in_force, status) SELECT o.connection_id, s, 'entry', o.pair, o.symbol,"
        " o.side, o.order_type, o.time_in_force, 'SKIPPED'"
        " FROM execution_order o, unnest(%s::bigint[]) s WHERE o.id = %s",
        ([one.pk for one in others], entry.pk),
    )
    run("ANALYZE execution_order")
    explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {fees.UPDATE_OF_POSITIONS}"
    found = rows(explain, {"ids": [entry.pk]})[0][0]
    plan = nodes((json.loads(found) if isinstance(found, str) else found)[0]["Plan"])
    read = [node for node in plan if node.get("Relation Name") == "execution_order"]
    assert len(read) >= 3
    for node in read:
        assert node["Actual Rows"] + node.get("Rows Removed by Filter", 0) < 10, node


def nodes(plan: Any) -> list[Any]:
    return [plan, *(one for inner in plan.get("Plans", []) for one in nodes(inner))]


def test_paper_fees_from_http_request_to_daily_result(
    trading_account: ExecutionConnection, feed: Feed
) -> None:
    """The paper broker charges commission in the account's currency, so no rate is needed."""
    set_terms(["A1"], {"commission_per_million": D(100)})
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {create_api_key(feed.owner, 'test')[1]}")
    body = {"feed": feed.slug, "symbol": "EUR/USD", "direction": "BUY", "sl": "1.09"}
    answer = client.post("/api/v1/signals/?publish=true", body, format="json")
    assert answer.status_code == 201, answer.content
    send()
    entry = Fill.objects.get()
    assert (entry.commission, entry.commission_rate, entry.commission_rate_at) == (
        D("0.33"), 1, None,
    )  # fmt: skip
    body = {"feed": feed.slug, "action": "CLOSE", "refers_to": answer.json()["id"]}
    client.post("/api/v1/signals/?publish=true", body, format="json")
    send()
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.commission) == (0, D("0.66"))
    compute_day(trading_date(market_now()))
    row = AnalyticsDaily.objects.get()
    assert (row.commission, row.unconverted_fees) == (D("0.66"), {})
    assert row.total_pnl == position.realized_pnl - D("0.66")
