"""Open orders and executions of an account, for reconciliation."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from brokers.base import BrokerError, ReadFailed
from brokers.broker_books import HasBrokerBooks
from brokers.types import CloseCause, OrderType, Side
from tests.paper.conftest import Trader


def test_open_orders_have_ids_and_levels(trader: Trader) -> None:
    [accepted] = trader.buy("3000", limit_price="1.09000", stop_loss="1.08000")
    trader.buy("1000")  # filled at once: not an open order
    [resting] = trader.run(trader.adapter.open_orders(trader.spec()))
    assert (resting.broker_order_id, resting.client_order_id) == (
        accepted.broker_order_id, accepted.client_order_id,
    )  # fmt: skip
    assert (resting.side, resting.order_type, resting.quantity, resting.filled) == (
        Side.BUY, OrderType.LIMIT, D(3000), D(0),
    )  # fmt: skip
    assert (resting.limit_price, resting.stop_loss) == (D("1.09"), D("1.08"))
    assert resting.placed_at == trader.now
    trader.price("1.08900")
    assert trader.run(trader.adapter.open_orders(trader.spec())) == []


def test_reads_exclude_other_accounts(trader: Trader) -> None:
    trader.account("A2")
    trader.buy("3000", limit_price="1.09000")
    trader.buy("1000")
    spec = trader.spec("A2")
    assert trader.run(trader.adapter.open_orders(spec)) == []
    assert trader.run(trader.adapter.fills_since(spec, trader.now - timedelta(days=1))) == []


def test_fills_since_a_time_have_the_same_ids(trader: Trader) -> None:
    [entry] = trader.buy("3000", stop_loss="1.09000")
    trader.price("1.09950", after=60)
    since = trader.now
    trader.price("1.08990", after=60)  # the stop is executed
    [fill_report] = trader.run(trader.adapter.fills_since(trader.spec(), since))
    assert (fill_report.close_cause, fill_report.client_order_id) == (
        CloseCause.STOP_LOSS, entry.client_order_id,
    )  # fmt: skip
    assert fill_report.broker_position_id == entry.broker_position_id
    [streamed] = trader.run(trader.adapter.events(10))
    assert fill_report.fills == streamed.fills
    both = trader.run(trader.adapter.fills_since(trader.spec(), since - timedelta(hours=1)))
    assert [report.fills for report in both] == [entry.fills, fill_report.fills]
    assert {report.connection_id for report in both} == {trader.spec().connection_id}


@pytest.mark.parametrize("read", ["open_orders", "fills_since"])
def test_failed_read_is_not_an_empty_book(trader: Trader, read: str) -> None:
    trader.set(unreachable=True)
    call = (
        trader.adapter.open_orders(trader.spec())
        if read == "open_orders"
        else trader.adapter.fills_since(trader.spec(), trader.now)
    )
    with pytest.raises(BrokerError) as caught:
        trader.run(call)
    assert isinstance(caught.value, ReadFailed)


def test_books_list_accepted_orders_and_owners_of_open_positions(trader: Trader) -> None:
    [entry] = trader.buy("3000")
    [closed] = trader.buy("1000", stop_loss="1.09950")
    trader.price("1.09900", after=60)
    assert isinstance(trader.adapter, HasBrokerBooks)
    books = trader.run(trader.adapter.journal(entry.client_order_id[:2]))
    assert {order.client_order_id: order.times for order in books.accepted} == {
        entry.client_order_id: 1, closed.client_order_id: 1,
    }  # fmt: skip
    [position] = books.positions
    assert (position.broker_position_id, position.client_order_id, position.side,
    position.quantity) == (
        entry.broker_position_id, entry.client_order_id, Side.BUY, D(3000),
    )  # fmt: skip
