"""Fees from the alert to the daily result: in the coin that was bought, and in a third one."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db.models import F
from rest_framework.test import APIClient

from analytics.days import trading_day
from analytics.models import AnalyticsDaily
from analytics.services import compute_day
from common.clocks import market_now
from common.sql import rows
from connections.models import ExecutionConnection
from execution.audit.counters import audit
from execution.models import DriftItem, Fill, Order
from execution.monitoring.level_monitor import scan_levels
from execution.reconciliation.reconcile import reconcile
from execution.services import close_dust
from execution.tasks import enqueue
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.crypto.test_engine import alice, engine, exchange, feed, until
from tests.execution import factories
from tests.fakes.exchange.server import Server
from users.services import create_api_key

__all__ = ["alice", "engine", "exchange", "feed"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def client_of(user: Any) -> APIClient:
    client = APIClient()
    _, secret = create_api_key(user, "test")
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


def publish(feed: Feed, **said: Any) -> int:
    """Send and publish a signal over HTTP."""
    body = {"feed": feed.slug, "symbol": "EUR/USD", **said}
    answer = client_of(feed.owner).post("/api/v1/signals/?publish=true", body, format="json")
    assert answer.status_code == 201, answer.content
    return int(answer.json()["id"])


def opened(feed: Feed) -> tuple[int, dict[str, Any]]:
    signal = publish(feed, direction="BUY")
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    return signal, position_of()


def position_of() -> dict[str, Any]:
    owner = ExecutionConnection.objects.get().user
    (told,) = client_of(owner).get("/api/v1/positions/").json()["results"]
    return dict(told)


def close(feed: Feed, signal: int) -> None:
    publish(feed, action="CLOSE", refers_to=signal)
    until(lambda: ExecutionPosition.objects.get().quantity == 0)


def daily() -> tuple[AnalyticsDaily, dict[str, Any]]:
    """The day's row, and what the API says of it."""
    compute_day(trading_day(market_now(), "America/New_York"))
    row = AnalyticsDaily.objects.get()
    (told,) = client_of(row.connection.user).get("/api/v1/analytics/").json()
    return row, told


def money(server: Server) -> D:
    return server.venue.balances["USD"]


def test_a_fee_in_the_bought_coin_opens_what_is_left_and_the_rest_is_dust(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server]
) -> None:
    _, server = exchange
    before = money(server)
    server.venue.fee_rate, server.venue.fee_in_base = D("0.00033"), True
    signal, told = opened(feed)
    assert (told["quantity"], told["opened_quantity"]) == ("4998.35", "4998.35")
    fill = Fill.objects.get()
    assert (fill.quantity, fill.fee_in_base, fill.commission_currency) == (5000, D("1.65"), "EUR")
    assert fill.commission_rate == fill.price
    assert fill.commission_converted == D("1.65") * fill.price == D(told["commission"])
    assert Order.objects.get().filled_quantity == 5000
    assert audit().counters["MISMATCH"] == 0
    reconcile([alice.pk])
    assert not DriftItem.objects.exists()

    close(feed, signal)
    told = position_of()
    assert told["close_reason"] == "dust"
    sold = Order.objects.get(leg="close-1")
    assert (sold.status, sold.filled_quantity) == ("FILLED", 4998)
    rest = Order.objects.get(leg="dust-1")
    assert (rest.filled_quantity, rest.client_order_id) == (D("0.35"), None)
    assert server.venue.balances["EUR"] == D("0.35")
    assert audit().counters["MISMATCH"] == 0
    reconcile([alice.pk])
    assert not DriftItem.objects.exists()

    row, shown = daily()
    worth = D("0.35") * Fill.objects.get(order=rest).price  # what is still there
    assert abs(row.total_pnl - (money(server) - before + worth)) < D("0.000001")
    assert (row.unconverted_fees, shown["unconverted_fees"]) == ({}, {})
    assert D(shown["total_pnl"]) == row.total_pnl


def test_a_fee_in_a_third_coin_is_converted_by_a_rate_that_is_kept(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server]
) -> None:
    _, server = exchange
    server.venue.balances["BNB"] = D(10)
    server.venue.fee_rate, server.venue.fee_coin = D("0.001"), ("BNB", D(500))
    factories.quote(alice, "499", "501", pair="BNB/USD")
    signal, told = opened(feed)
    fill = Fill.objects.get()
    assert (fill.commission, fill.commission_currency) == (fill.price * 5 / 500, "BNB")
    assert (fill.commission_rate, told["unconverted_fees"]) == (D(500), {})
    quoted = rows("SELECT time FROM prices_latestquote WHERE symbol = 'BNB/USD'")[0].time
    assert fill.commission_rate_at == quoted
    assert D(told["commission"]) == fill.price * 5
    (order,) = client_of(alice.user).get("/api/v1/orders/").json()["results"]
    assert D(order["commission"]) == fill.price * 5

    factories.quote(alice, "599", "601", pair="BNB/USD")  # the exit's fee has a rate of its own
    close(feed, signal)
    row, _ = daily()
    left = Fill.objects.get(order__leg="close-1")
    assert left.commission_rate == D(600)
    assert row.commission == fill.price * 5 + left.commission * 600
    assert row.unconverted_fees == {}
    assert position_of()["close_reason"] == "manual"


def test_a_fee_without_a_rate_stands_beside_the_result_everywhere(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server], client: Any
) -> None:
    _, server = exchange
    server.venue.balances["BNB"] = D(10)
    server.venue.fee_rate, server.venue.fee_coin = D("0.001"), ("BNB", D(500))
    factories.quote(alice, "499", "501", pair="BNB/USD")
    rows("UPDATE prices_latestquote SET received_at = received_at - interval '2 minutes'"
         " WHERE symbol = 'BNB/USD' RETURNING id")  # too old to convert by  # fmt: skip
    signal, told = opened(feed)
    fee = Fill.objects.get().commission
    assert (told["commission"], told["unconverted_fees"]) == ("0", {"BNB": f"{fee.normalize():f}"})
    close(feed, signal)

    fees = sum(Fill.objects.values_list("commission", flat=True), D(0))
    row, shown = daily()
    assert (row.commission, row.unconverted_fees) == (0, {"BNB": f"{fees.normalize():f}"})
    assert row.total_pnl == ExecutionPosition.objects.get().realized_pnl
    assert shown["unconverted_fees"] == row.unconverted_fees
    order_id = Order.objects.get(leg="entry").pk
    order = client_of(alice.user).get(f"/api/v1/orders/{order_id}/").json()
    assert order["unconverted_fees"] == {"BNB": f"{fee.normalize():f}"}
    sentence = "BNB in fees not included: no rate was quoted"
    client.force_login(alice.user)
    assert sentence in client.get("/positions/?state=closed").content.decode()
    event = rows("SELECT payload FROM events_event WHERE kind = 'position.closed'")[0].payload
    assert event["unconverted_fees"] == row.unconverted_fees


@pytest.mark.parametrize("exchange", [("binance", "EURUSD")], indirect=True)  # it tells the least
def test_position_worth_too_little_stays_open_until_it_can_be_sold(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server], client: Any
) -> None:
    _, server = exchange
    signal, _ = opened(feed)
    (symbol,) = server.venue.prices
    first = server.venue.prices[symbol]
    server.venue.prices[symbol] = D("0.0009")  # 5,000 of it are worth 4.5, and 5 is the least
    factories.quote(alice, "0.0009", "0.0010")
    publish(feed, action="CLOSE", refers_to=signal)
    until(lambda: Order.objects.filter(leg="close-1", done_at__isnull=False).exists())
    ended = Order.objects.get(leg="close-1")
    assert (ended.status, ended.reason, ended.detail) == (
        "CANCELLED", "EXIT_BELOW_MINIMUM", "5000 EUR/USD left",
    )  # fmt: skip
    assert close_dust() == 0
    told = position_of()
    assert (told["quantity"], told["exit_blocker"]) == ("5000", "EXIT_BELOW_MINIMUM")
    client.force_login(alice.user)
    assert "Cannot be closed" in client.get("/positions/").content.decode()
    assert len(factories.events("exit.delayed")) == 1
    assert [one.side for one in server.venue.orders] == ["BUY"]

    server.venue.prices[symbol] = first  # the CLOSE is still to be done
    factories.quote(alice, first, first + D("0.0001"))
    assert position_of()["exit_blocker"] == ""
    Order.objects.filter(leg="close-1").update(done_at=F("done_at") - timedelta(minutes=1))
    enqueue(scan_levels())
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    assert [one.side for one in server.venue.orders] == ["BUY", "SELL"]
    assert audit().counters["MISMATCH"] == 0
