"""Trailing stops that the account's broker takes: sent to it, or held where it could not do all."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any
from uuid import uuid4

import pytest

from analytics.orders.explanations import explain
from brokers.base import NotSent
from brokers.types import OrderType, ReportKind, TimeInForce
from common.clocks import market_now
from common.db.sql import rows
from common.errors import ConflictError
from common.reason_codes import Code
from connections.models import ExecutionConnection, Subscription
from execution.changes.changeable_orders import may_be_changed
from execution.changes.order_changes import change_order
from execution.models import Order, OrderTrigger
from execution.submission.change_terms import WantedTerms
from signals import services
from signals.models import Approval, Feed, Signal
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db
BUY: dict[str, Any] = {
    "order_type": "TRAILING_STOP", "trail_distance": D("0.005"), "sl": D("1.01"),
}  # fmt: skip
SELL: dict[str, Any] = {
    "order_type": "TRAILING_STOP", "trail_distance": D("0.005"), "direction": "SELL",
    "sl": D("1.2"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def takes_trailing_stops(broker: FakeBroker) -> None:
    broker.order_types = frozenset(OrderType)


def by(fields: dict[str, Any], **distance: D) -> dict[str, Any]:
    """Return the fields with another distance."""
    return fields | {"trail_distance": None} | distance


def held() -> bool:
    """Return whether the engine holds the last order."""
    order = Order.objects.latest("id")
    return (order.status, order.reason) == ("PENDING", "AWAITING_TRIGGER")


@pytest.mark.parametrize(
    ("fields", "start", "distance"),
    [
        (BUY, "1.105", "0.005"),  # above the ask, which is 1.1
        (SELL, "1.0949", "0.005"),  # below the bid, which is 1.0999
        (by(SELL, trail_pips=D(20)), "1.0979", "0.002"),
        (by(BUY, trail_percent=D(1)), "1.111", "0.011"),
        (by(BUY, trail_distance=D("0.0050049")), "1.10501", "0.00501"),  # a tick is 0.00001
        (by(SELL, trail_distance=D("0.0050041")), "1.09489", "0.00501"),  # triggered no earlier
        (by(BUY, trail_distance=D("0.00001")), "1.10001", "0.00001"),  # at least one tick
        (by(BUY, trail_percent=D("0.01")), "1.10011", "0.00011"),
        (by(BUY, trail_percent=D("0.0101")), "1.10012", "0.00012"),
    ],
)
def test_trailing_stop_is_sent_with_its_distance_and_first_stop_price(
    alice: ExecutionConnection, feed: Feed, fields: dict[str, Any], start: str, distance: str
) -> None:
    factories.signal(feed, **fields)
    [outgoing] = factories.claim_all()
    request = outgoing.request
    assert (request.order_type, request.time_in_force) == (OrderType.TRAILING_STOP, TimeInForce.GTC)
    assert (request.stop_price, request.trail_distance) == (D(start), D(distance))
    assert (request.limit_price, request.worst_price) == (None, None)
    order = Order.objects.get()
    assert (order.stop_price, order.trail_distance) == (D(start), D(distance))
    assert order.expected_price == D(start)  # the worst, from which it is sized
    assert not OrderTrigger.objects.exists()


def test_expiry_is_sent_with_it(alice: ExecutionConnection, feed: Feed) -> None:
    end = market_now() + timedelta(hours=1)
    factories.signal(feed, **BUY, time_in_force="GTD", valid_until=end)
    [outgoing] = factories.claim_all()
    assert (outgoing.request.time_in_force, outgoing.request.expires_at) == (TimeInForce.GTD, end)


@pytest.mark.parametrize(
    ("fields", "is_held"),
    [
        (BUY | {"activation_price": D("1.09")}, True),
        (BUY | {"max_slippage_pips": D(2)}, True),
        (BUY | {"sl": D("1.105")}, True),  # where it begins
        (BUY | {"sl": D("1.10499")}, False),
        (SELL | {"sl": D("1.0949")}, True),
        (SELL | {"sl": D("1.09491")}, False),
        (BUY | {"target_prices": [D("1.105")], "target_fractions": [D(1)]}, True),
        (BUY | {"target_prices": [D("1.10501")], "target_fractions": [D(1)]}, False),
        (SELL | {"target_prices": [D("1.0949")], "target_fractions": [D(1)]}, True),
        (SELL | {"target_prices": [D("1.09489")], "target_fractions": [D(1)]}, False),
    ],
)
def test_engine_holds_what_the_brokers_order_cannot_do(
    alice: ExecutionConnection, feed: Feed, fields: dict[str, Any], is_held: bool
) -> None:
    factories.signal(feed, **fields)
    assert len(factories.claim_all()) == (0 if is_held else 1)
    assert held() is is_held
    order = Order.objects.get()
    assert (order.stop_price is None, order.trail_distance is None) == (is_held, is_held)


@pytest.mark.parametrize("model", ["preset", "subscription"])
def test_engine_holds_it_where_the_account_limits_slippage(
    alice: ExecutionConnection, feed: Feed, model: str
) -> None:
    limited = {"max_slippage_pips": D(2)}
    if model == "preset":
        type(alice.preset).objects.update(**limited)  # type: ignore[union-attr]
    else:
        Subscription.objects.update(**limited)
    factories.signal(feed, **BUY)
    assert factories.claim_all() == []
    assert held()


def test_armed_trailing_stop_stays_held_when_the_broker_takes_the_type(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    broker.order_types = frozenset(OrderType) - {OrderType.TRAILING_STOP}
    factories.signal(feed, **BUY)
    assert factories.claim_all() == []
    broker.order_types = frozenset(OrderType)
    factories.pass_time(3601)
    assert factories.claim_all() == []
    assert held()
    assert OrderTrigger.objects.get().is_armed


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (BUY | {"trail_distance": D("1.1")}, "TRAIL_TOO_WIDE"),
        (by(BUY, trail_atr=D(1)), "ATR_UNKNOWN"),
    ],
)
def test_distance_that_cannot_be_right_is_denied(
    alice: ExecutionConnection, feed: Feed, fields: dict[str, Any], reason: str
) -> None:
    Feed.objects.update(max_price_deviation_percent=None)  # its guard refuses such distances
    factories.signal(feed, **fields)
    assert factories.claim_all() == []
    order = Order.objects.get()
    assert (order.status, order.reason) == ("DENIED", reason)


def test_price_limit_of_an_entry_does_not_apply_to_where_it_begins(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """A wide distance is no typing error of a price."""
    type(alice.preset).objects.update(max_price_deviation_percent=D(1))  # type: ignore[union-attr]
    factories.signal(feed, **BUY | {"trail_distance": D("0.05")})
    assert len(factories.claim_all()) == 1


def test_working_trailing_stop_counts_as_an_open_order(
    alice: ExecutionConnection, feed: Feed
) -> None:
    type(alice.preset).objects.update(max_open_orders=1)  # type: ignore[union-attr]
    factories.signal(feed, **BUY)
    assert len(factories.claim_all()) == 1
    factories.signal(feed, **BUY)
    assert factories.claim_all() == []
    assert Order.objects.latest("id").reason == "MAX_OPEN_ORDERS"


def test_order_that_was_not_sent_begins_at_the_price_of_its_next_claim(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed, **BUY)
    [outgoing] = factories.claim_all()
    factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))
    factories.quote(alice, "1.0899", "1.09")
    factories.pass_time(60)
    [again] = factories.claim_all()
    assert again.request.client_order_id == outgoing.request.client_order_id
    assert (again.request.stop_price, again.request.trail_distance) == (D("1.095"), D("0.005"))


def test_order_that_was_not_sent_and_is_held_next_keeps_no_stop_price(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """Fired, it is a market order: by a stop price it would be sized as from there."""
    factories.signal(feed, **BUY)
    [outgoing] = factories.claim_all()
    factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))
    Subscription.objects.update(max_slippage_pips=D(2))
    factories.pass_time(60)
    assert factories.claim_all() == []
    assert held()
    order = Order.objects.get()
    assert (order.stop_price, order.trail_distance) == (None, None)


def test_fill_of_a_trailing_stop_has_no_slippage(alice: ExecutionConnection, feed: Feed) -> None:
    """It was filled 100 pips below where it began, because it has followed the market."""
    factories.signal(feed, **BUY)
    factories.claim_all()
    order = Order.objects.get()
    factories.apply(factories.fill_report(order, order.quantity or 0, "f1", price="1.095"))
    order.refresh_from_db()
    assert (order.status, order.avg_fill_price) == ("FILLED", D("1.095"))
    assert order.slippage_pips is None


def working(feed: Feed) -> Order:
    factories.signal(feed, **BUY)
    factories.claim_all()
    order = Order.objects.get()
    factories.apply(factories.report(order, ReportKind.ACCEPTED))
    order.refresh_from_db()
    assert order.status == "SUBMITTED"
    return order


def test_working_trailing_stop_cannot_be_changed(alice: ExecutionConnection, feed: Feed) -> None:
    order = working(feed)
    assert not may_be_changed(order)
    with pytest.raises(ConflictError) as refused:
        change_order(order.pk, WantedTerms(quantity=D(2000)))
    assert refused.value.code is Code.CHANGE_UNSUPPORTED
    assert not rows("SELECT id FROM execution_entrychange")


def test_working_trailing_stop_is_explained(alice: ExecutionConnection, feed: Feed) -> None:
    assert explain(working(feed)).summary == (
        "Not filled yet; working at the broker, following 0.00500 behind, from 1.10500 on."
    )


def test_leg_of_a_pair_is_held_on_every_account(alice: ExecutionConnection, feed: Feed) -> None:
    group = uuid4()
    for fields in (BUY, SELL):
        usual = {"direction": "BUY", "currency_pair": "EUR/USD", "approval": Approval.APPROVED}
        last = Signal.objects.create(feed=feed, oco_group=group, **usual | fields)
    assert services.publish(last.pk, by=None)
    assert factories.claim_all() == []
    assert set(Order.objects.values_list("reason", flat=True)) == {"AWAITING_TRIGGER"}
