"""Stop-limit and good-till-date orders, at each exchange that has them, and refused elsewhere."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from brokers.base import BrokerError, Rejected
from brokers.crypto.capabilities import market_capabilities
from brokers.types import OrderType, ReportKind, Side, TimeInForce
from common.reason_codes import Code
from tests.crypto.factories import SYMBOLS, ExchangeAccount, account

__all__ = ["account"]
D = Decimal
STOP_LIMIT: dict[str, Any] = {
    "order_type": OrderType.STOP_LIMIT, "stop_price": D("51000.01"), "limit_price": D("51500.09"),
}  # fmt: skip
NATIVE = {("binance", False), ("bybit", True), ("kraken", False)}
GTD = {("binance", True): timedelta(minutes=11), ("kraken", False): timedelta(0)}


def exchange_of(account: ExchangeAccount) -> tuple[str, bool]:
    return account.spec.exchange_name, account.venue.derivatives


def test_claims_of_each_exchange_and_market() -> None:
    for name, swap in SYMBOLS:
        can = market_capabilities(name, "swap" if swap else "spot")
        assert (OrderType.STOP_LIMIT in can.order_types) is ((name, swap) in NATIVE)
        assert (TimeInForce.GTD in can.times_in_force) is ((name, swap) in GTD)
        assert can.shortest_gtd == GTD.get((name, swap), timedelta(0))
        refuses = (name, swap) in NATIVE and name != "kraken"
        assert can.refuses_reached == ({OrderType.STOP_LIMIT} if refuses else set())
    unchecked = market_capabilities("another", "spot")
    assert unchecked.order_types == {OrderType.MARKET, OrderType.LIMIT}


def test_stop_limit_order_is_sent_with_both_prices_or_not_at_all(account: ExchangeAccount) -> None:
    request = account.order(**STOP_LIMIT)
    if exchange_of(account) not in NATIVE:
        with pytest.raises(Rejected) as refused:
            account.submit(request)
        assert refused.value.code is Code.ORDER_TYPE_UNSUPPORTED
        assert account.venue.writes == []
        return
    assert [r.kind for r in account.submit(request)] == [ReportKind.ACCEPTED]
    [there] = account.venue.orders
    assert (there.cid, there.trigger, there.price) == (
        request.client_order_id, D("51000.1"), D("51500.0"),
    )  # fmt: skip
    (order,) = account.run(account.adapter.open_orders(account.spec))
    assert (order.order_type, order.stop_price, order.limit_price) == (
        OrderType.STOP_LIMIT, D("51000.1"), D("51500.0"),
    )  # fmt: skip
    assert [r.kind for r in account.cancel(request)] == [ReportKind.CANCELLED]
    sell = account.order(
        **STOP_LIMIT | {"stop_price": D("49000.09"), "limit_price": D("48500.01")}, side=Side.SELL
    )
    if account.venue.derivatives:
        account.submit(sell)
        assert (account.venue.orders[-1].trigger, account.venue.orders[-1].price) == (
            D("49000.0"), D("48500.1"),
        )  # fmt: skip


@pytest.mark.parametrize("price", ["stop_price", "limit_price"])
def test_stop_limit_order_without_a_price_is_not_sent(account: ExchangeAccount, price: str) -> None:
    with pytest.raises(Rejected) as refused:
        account.submit(account.order(**STOP_LIMIT | {price: None}))
    is_native = exchange_of(account) in NATIVE
    expected = Code.PRICE_INVALID if is_native else Code.ORDER_TYPE_UNSUPPORTED
    assert refused.value.code is expected
    assert account.venue.writes == []


def test_stop_price_that_is_reached_is_refused_or_triggers(account: ExchangeAccount) -> None:
    if exchange_of(account) not in NATIVE:
        pytest.skip("no stop-limit orders")
    request = account.order(**STOP_LIMIT | {"stop_price": D(50000)})
    if exchange_of(account) == ("kraken", False):
        assert [r.kind for r in account.submit(request)][-1] is ReportKind.FILLED
        return
    with pytest.raises(Rejected) as refused:
        account.submit(request)
    assert refused.value.code is Code.PRICE_INVALID
    assert account.venue.orders == []


def test_good_till_date_order_carries_its_expiry_or_is_not_sent(account: ExchangeAccount) -> None:
    end = datetime.now(UTC).replace(microsecond=999_000) + timedelta(hours=1)
    request = account.order(limit_price=D(40000), time_in_force=TimeInForce.GTD, expires_at=end)
    if exchange_of(account) not in GTD:
        with pytest.raises(Rejected) as refused:
            account.submit(request)
        assert refused.value.code is Code.ORDER_TYPE_UNSUPPORTED
        assert account.venue.writes == []
        return
    account.submit(request)
    [there] = account.venue.orders
    assert (there.tif, there.expires_ms) == ("GTD", int(end.timestamp()) * 1000)
    there.expires_ms = account.venue.now() - 1
    (ended,) = account.find(request.client_order_id) or []
    assert (ended.kind, ended.code) == (ReportKind.EXPIRED, Code.TIME_IN_FORCE_ENDED)


def test_expiry_without_good_till_date_is_not_sent(account: ExchangeAccount) -> None:
    for fields in (
        {"time_in_force": TimeInForce.GTD},
        {"time_in_force": TimeInForce.GTC, "expires_at": datetime.now(UTC) + timedelta(hours=1)},
    ):
        with pytest.raises(BrokerError):
            account.submit(account.order(limit_price=D(40000), **fields))
    assert account.venue.writes == []
