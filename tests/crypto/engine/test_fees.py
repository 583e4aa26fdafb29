"""Fees from the signal to the daily result: in the bought coin and in a third coin."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db.models import F
from rest_framework.test import APIClient

from analytics.models import AnalyticsDaily
from analytics.services import compute_day
from common.db.sql import rows
from connections.models import ExecutionConnection
from connections.trading_day import trading_date
from execution.audit.counters import audit
from execution.models import DriftItem, Fill, Order
from execution.monitoring.level_monitor import scan_levels
from execution.reconciliation.reconcile import reconcile
from execution.services import close_dust
from execution.tasks import enqueue
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.crypto.engine.test_engine import alice, engine, exchange, feed
from tests.execution import factories
from tests.execution.trading_process import until
from tests.fakes.exchange.server import Server
from users.services import create_api_key

__all__ = ["alice", "engine", "exchange", "feed"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def api_client(user: Any) -> APIClient:
    client = APIClient()
    _, secret = create_api_key(user, "test")
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


def publish(feed: Feed, **fields: Any) -> int:
    """Send and publish a signal over HTTP."""
    body = {"feed": feed.slug, "symbol": "EUR/USD", **fields}
    response = api_client(feed.owner).post("/api/v1/signals/?publish=true", body, format="json")
    assert response.status_code == 201, response.content
    return int(response.json()["id"])


def open_position(feed: Feed) -> tuple[int, dict[str, Any]]:
    signal = publish(feed, direction="BUY")
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    return signal, api_position()


def api_position() -> dict[str, Any]:
    owner = ExecutionConnection.objects.get().user
    (position,) = api_client(owner).get("/api/v1/positions/").json()["results"]
    return dict(position)


def close(feed: Feed, signal: int) -> None:
    publish(feed, action="CLOSE", refers_to=signal)
    until(lambda: ExecutionPosition.objects.get().quantity == 0)


def daily() -> tuple[AnalyticsDaily, dict[str, Any]]:
    """Compute the day of the close; return its row and what the API shows of it."""
    closed_at = ExecutionPosition.objects.get().closed_at
    assert closed_at is not None
    compute_day(trading_date(closed_at))
    daily_row = AnalyticsDaily.objects.get()
    (api_row,) = api_client(daily_row.connection.user).get("/api/v1/analytics/").json()
    return daily_row, api_row


def usd_balance(server: Server) -> D:
    return server.venue.balances["USD"]


def test_fee_in_bought_coin_reduces_position_and_remainder_is_dust(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server]
) -> None:
    _, server = exchange
    before = usd_balance(server)
    server.venue.fee_rate, server.venue.fee_in_base = D("0.00033"), True
    signal, position = open_position(feed)
    assert (position["quantity"], position["opened_quantity"]) == ("4998.35", "4998.35")
    fill = Fill.objects.get()
    assert (fill.quantity, fill.fee_in_base, fill.commission_currency) == (5000, D("1.65"), "EUR")
    assert fill.commission_rate == fill.price
    assert fill.commission_converted == D("1.65") * fill.price == D(position["commission"])
    assert Order.objects.get().filled_quantity == 5000
    assert audit().counters["MISMATCH"] == 0
    reconcile([alice.pk])
    assert not DriftItem.objects.exists()

    close(feed, signal)
    position = api_position()
    assert position["close_reason"] == "signal"  # of the exit: the rest was left over by it
    sold = Order.objects.get(leg="close-1")
    assert (sold.status, sold.filled_quantity) == ("FILLED", 4998)
    dust = Order.objects.get(leg="dust-1")
    assert (dust.filled_quantity, dust.client_order_id) == (D("0.35"), None)
    assert server.venue.balances["EUR"] == D("0.35")
    assert audit().counters["MISMATCH"] == 0
    reconcile([alice.pk])
    assert not DriftItem.objects.exists()

    daily_row, api_row = daily()
    worth = D("0.35") * Fill.objects.get(order=dust).price  # what is still held
    assert abs(daily_row.total_pnl - (usd_balance(server) - before + worth)) < D("0.000001")
    assert (daily_row.unconverted_fees, api_row["unconverted_fees"]) == ({}, {})
    assert D(api_row["total_pnl"]) == daily_row.total_pnl


def test_two_positions_in_one_coin_are_both_closed_after_fees(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server]
) -> None:
    """The step is taken off what is left of the balance for each, not off the whole balance."""
    _, server = exchange
    server.venue.fee_rate, server.venue.fee_in_base = D("0.00033"), True
    assert alice.preset is not None
    alice.preset.fixed_quantity = D(2000)
    alice.preset.save()
    signals = [publish(feed, direction="BUY") for _ in range(2)]
    until(lambda: ExecutionPosition.objects.filter(quantity=D("1999.34")).count() == 2)
    for number, signal in enumerate(signals, start=1):
        publish(feed, action="CLOSE", refers_to=signal)
        until(lambda n=number: ExecutionPosition.objects.filter(quantity=0).count() == n)  # type: ignore[misc]
    sold = [one.filled for one in server.venue.orders if one.side == "SELL" and one.filled]
    assert sold == [1999, 1999]
    assert server.venue.balances["EUR"] == D("0.68")
    reconcile([alice.pk])
    assert not DriftItem.objects.exists()


def test_fee_in_third_coin_is_converted_by_stored_rate(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server]
) -> None:
    _, server = exchange
    server.venue.balances["BNB"] = D(10)
    server.venue.fee_rate, server.venue.fee_coin = D("0.001"), ("BNB", D(500))
    factories.quote(alice, "499", "501", pair="BNB/USD")
    signal, position = open_position(feed)
    fill = Fill.objects.get()
    assert (fill.commission, fill.commission_currency) == (fill.price * 5 / 500, "BNB")
    assert (fill.commission_rate, position["unconverted_fees"]) == (D(500), {})
    quoted = rows("SELECT time FROM prices_latestquote WHERE symbol = 'BNB/USD'")[0].time
    assert fill.commission_rate_at == quoted
    assert D(position["commission"]) == fill.price * 5
    (order,) = api_client(alice.user).get("/api/v1/orders/").json()["results"]
    assert D(order["commission"]) == fill.price * 5

    factories.quote(alice, "599", "601", pair="BNB/USD")  # the exit's fee is converted by this rate
    close(feed, signal)
    daily_row, _ = daily()
    exit_fill = Fill.objects.get(order__leg="close-1")
    assert exit_fill.commission_rate == D(600)
    assert daily_row.commission == fill.price * 5 + exit_fill.commission * 600
    assert daily_row.unconverted_fees == {}
    assert api_position()["close_reason"] == "signal"


def test_fee_without_rate_is_reported_separately(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server], client: Any
) -> None:
    _, server = exchange
    server.venue.balances["BNB"] = D(10)
    server.venue.fee_rate, server.venue.fee_coin = D("0.001"), ("BNB", D(500))
    factories.quote(alice, "499", "501", pair="BNB/USD")
    rows("UPDATE prices_latestquote SET received_at = received_at - interval '2 minutes'"
         " WHERE symbol = 'BNB/USD' RETURNING id")  # too old for a conversion  # fmt: skip
    signal, position = open_position(feed)
    fee = Fill.objects.get().commission
    assert (position["commission"], position["unconverted_fees"]) == (
        "0",
        {"BNB": f"{fee.normalize():f}"},
    )
    close(feed, signal)

    fees = sum(Fill.objects.values_list("commission", flat=True), D(0))
    daily_row, api_row = daily()
    assert (daily_row.commission, daily_row.unconverted_fees) == (
        0,
        {"BNB": f"{fees.normalize():f}"},
    )
    assert daily_row.total_pnl == ExecutionPosition.objects.get().realized_pnl
    assert api_row["unconverted_fees"] == daily_row.unconverted_fees
    order_id = Order.objects.get(leg="entry").pk
    order = api_client(alice.user).get(f"/api/v1/orders/{order_id}/").json()
    assert order["unconverted_fees"] == {"BNB": f"{fee.normalize():f}"}
    sentence = "BNB in fees not included: no rate was quoted"
    client.force_login(alice.user)
    assert sentence in client.get("/positions/?state=closed").content.decode()
    event = rows("SELECT payload FROM events_event WHERE kind = 'position.closed'")[0].payload
    assert event["unconverted_fees"] == daily_row.unconverted_fees


@pytest.mark.parametrize("exchange", [("binance", "EURUSD")], indirect=True)  # states a minimum
def test_position_worth_too_little_stays_open_until_it_can_be_sold(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server], client: Any
) -> None:
    _, server = exchange
    signal, _ = open_position(feed)
    (symbol,) = server.venue.prices
    first = server.venue.prices[symbol]
    server.venue.prices[symbol] = D("0.0009")  # 5,000 are worth 4.5; the minimum is 5
    factories.quote(alice, "0.0009", "0.0010")
    publish(feed, action="CLOSE", refers_to=signal)
    until(lambda: Order.objects.filter(leg="close-1", done_at__isnull=False).exists())
    ended = Order.objects.get(leg="close-1")
    assert (ended.status, ended.reason, ended.detail) == (
        "CANCELLED", "EXIT_BELOW_MINIMUM", "5000 EUR/USD left",
    )  # fmt: skip
    assert close_dust() == 0
    position = api_position()
    assert (position["quantity"], position["exit_blocker"]) == ("5000", "EXIT_BELOW_MINIMUM")
    client.force_login(alice.user)
    assert "Cannot be closed" in client.get("/positions/").content.decode()
    assert len(factories.events("exit.delayed")) == 1
    assert [one.side for one in server.venue.orders] == ["BUY"]

    server.venue.prices[symbol] = first  # the CLOSE is still pending
    factories.quote(alice, first, first + D("0.0001"))
    assert api_position()["exit_blocker"] == ""
    Order.objects.filter(leg="close-1").update(done_at=F("done_at") - timedelta(minutes=1))
    enqueue(scan_levels())
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    assert [one.side for one in server.venue.orders] == ["BUY", "SELL"]
    assert audit().counters["MISMATCH"] == 0
