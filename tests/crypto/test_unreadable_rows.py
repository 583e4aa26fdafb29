"""One invalid row of an exchange's list spoils no read: it is left out, and noted once."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from brokers import unreadable_rows
from brokers.base import ReadFailed
from brokers.types import BrokerOrder, BrokerPosition, OrderReport, Side
from brokers.unreadable_rows import UnreadableRows
from tests.crypto.factories import D, ExchangeAccount, close, open_account
from tests.sampling import often

SPOT = ["binance", "bybit", "okx", "kraken"]
SWAP = ["binance", "bybit", "okx"]
NUMBERS = ("price", "origQty", "qty", "px", "sz", "vol", "execPrice", "fillPx")


@pytest.fixture(autouse=True)
def noted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Return what was noted of the lists since the last call."""
    rows = UnreadableRows()
    for module in ("reads", "history", "unlisted", "level_reads"):
        monkeypatch.setattr(f"brokers.crypto.{module}.UNREADABLE_ROWS", rows, raising=False)
    monkeypatch.setattr(unreadable_rows, "UNREADABLE_ROWS", rows)
    return lambda: [row.what for row in rows.take()]


@pytest.fixture(params=SPOT)
def spot(request: pytest.FixtureRequest) -> Iterator[ExchangeAccount]:
    account = open_account(request.param)
    yield account
    close(account)


@pytest.fixture(params=often(SWAP, every=3))
def swap(request: pytest.FixtureRequest) -> Iterator[ExchangeAccount]:
    account = open_account(request.param, swap=True)
    yield account
    close(account)


def rows_of(answer: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in an answer, the outer ones first."""
    for one in answer.values() if isinstance(answer, dict) else answer:
        if isinstance(one, dict):
            yield one
        if isinstance(one, dict | list):
            yield from rows_of(one)


def spoiling(has: str, value: object) -> Callable[[Any], Any]:
    """Return what makes the numbers of one row invalid: the first whose field has this value."""

    def spoil(answer: Any) -> Any:
        for row in rows_of(answer):
            if str(row.get(has)) == str(value):
                row |= {name: "none" for name in NUMBERS if name in row}
                row.get("descr", {}).update(price="none")
                break
        return answer

    return spoil


def open_orders(account: ExchangeAccount) -> list[BrokerOrder]:
    return account.run(account.adapter.open_orders(account.spec))


def positions(account: ExchangeAccount) -> list[BrokerPosition]:
    return account.run(account.adapter.positions(account.spec))


def executed(account: ExchangeAccount) -> list[OrderReport]:
    since = datetime.now(UTC) - timedelta(minutes=5)
    return account.run(account.adapter.fills_since(account.spec, since))


def test_own_order_of_a_delisted_symbol_is_listed(spot: ExchangeAccount) -> None:
    ours = spot.order(limit_price=D(40000))
    spot.submit(ours)
    spot.venue.delisted.add(spot.exchange_symbol)
    spot.run(spot.adapter.disconnect())
    (found,) = open_orders(spot)
    assert (found.client_order_id, found.quantity, found.limit_price) == (
        ours.client_order_id, D("0.5"), D(40000),
    )  # fmt: skip
    if spot.spec.exchange_name != "kraken":  # whose own name of it is another
        assert found.symbol == spot.symbol


def test_invalid_open_order_hides_no_other_one(
    spot: ExchangeAccount, noted: Callable[[], list[str]]
) -> None:
    orders = [spot.order(limit_price=D(40000 + number)) for number in range(3)]
    for order in orders:
        spot.submit(order)
    field = {"binance": "clientOrderId", "bybit": "orderLinkId", "okx": "clOrdId"}
    name = field.get(spot.spec.exchange_name, "cl_ord_id")
    spot.venue.edit_read = spoiling(name, orders[1].client_order_id)
    for _ in range(2):
        found = {order.client_order_id for order in open_orders(spot)}
        assert found == {orders[0].client_order_id, orders[2].client_order_id}
    assert noted() == ["open order"]


def test_invalid_execution_hides_no_other_one(
    spot: ExchangeAccount, noted: Callable[[], list[str]]
) -> None:
    orders = [spot.order() for _ in range(3)]
    for order in orders:
        spot.submit(order)
    numbers = [str(trade.order.number) for trade in spot.venue.trades]
    before = executed(spot)
    assert len(before) == 3
    name = {"binance": "orderId", "bybit": "orderId", "okx": "ordId"}
    spot.venue.edit_read = spoiling(
        name.get(spot.spec.exchange_name, "ordertxid"), before[1].broker_order_id
    )
    spot.run(spot.adapter.disconnect())
    found = [one.client_order_id for one in executed(spot)]
    assert sorted(found) == [orders[0].client_order_id, orders[2].client_order_id], numbers
    assert noted() == ["execution"]


@pytest.mark.parametrize("price", ["none", None])
def test_position_that_cannot_be_read_stays_in_the_list(
    swap: ExchangeAccount, noted: Callable[[], list[str]], price: str | None
) -> None:
    """Its absence would count as a close. Bybit and OKX may have no entry price yet: it is read."""
    is_read = price is None and swap.spec.exchange_name in ("bybit", "okx")
    swap.submit(swap.order(side=Side.SELL))
    names = ("entryPrice", "avgPrice", "avgPx")

    def spoil(answer: Any) -> Any:
        for row in [answer, *rows_of(answer)] if isinstance(answer, dict) else rows_of(answer):
            row |= {name: price for name in names if name in row}
        return answer

    swap.venue.edit_read = spoil
    (found,) = positions(swap)
    assert (found.symbol, found.is_readable) == (swap.symbol, is_read)
    assert noted() == ([] if is_read else ["position"])
    swap.venue.edit_read = None
    (found,) = positions(swap)
    assert (found.quantity, found.is_readable) == (D("0.5"), True)


def test_value_of_coins_without_a_price_is_the_last_known_one(spot: ExchangeAccount) -> None:
    spot.submit(spot.order())
    before = spot.run(spot.adapter.account(spot.spec)).equity
    names = ("lastPrice", "last", "c", "bidPrice", "bid1Price", "bidPx", "b")

    def spoil(answer: Any) -> Any:
        for row in rows_of(answer):
            row |= {name: None for name in names if name in row}
        return answer

    spot.venue.edit_read = spoil
    assert spot.run(spot.adapter.account(spot.spec)).equity == before
    spot.run(spot.adapter.disconnect())
    with pytest.raises(ReadFailed):  # never one that is lower
        spot.run(spot.adapter.account(spot.spec))
