"""OCO pairs: both legs are held on every account, one is sent, and it cancels the other."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from brokers.types import OrderType, Quote
from common.clocks import market_now
from common.errors import ConflictError
from connections.models import AccountSnapshot, ExecutionConnection
from execution.changes.order_changes import change_order
from execution.models import Order, OrderTrigger
from execution.monitoring.trigger_monitor import TriggerMonitor
from execution.services import cancel_order, retry_order
from execution.submission.change_terms import WantedTerms
from execution.submission.claim import claim
from signals import services
from signals.models import Approval, Feed, Signal
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db
BUY: dict[str, Any] = {
    "order_type": "STOP", "stop_price": D("1.105"), "direction": "BUY", "sl": D("1.09"),
}  # fmt: skip
SELL: dict[str, Any] = {
    "order_type": "STOP", "stop_price": D("1.095"), "direction": "SELL", "sl": D("1.12"),
}  # fmt: skip
BUY_LIMIT = BUY | {"order_type": "LIMIT", "stop_price": None, "open_price": D("1.095")}
UP, DOWN, BETWEEN = "1.106", "1.094", "1.1"
OVER = "OCO_OTHER_LEG_TRIGGERED"


def quotes_of(*bids: str | D, seconds: float = 0) -> list[Quote]:
    """Return quotes with a spread of one pip."""
    at = market_now() + timedelta(seconds=seconds)
    return [Quote("EUR/USD", D(bid), D(bid) + D("0.0001"), at) for bid in bids]


def published(feed: Feed, *legs: dict[str, Any], **fields: Any) -> list[Signal]:
    """Publish a pair: by default a buy above the market and a sell below it."""
    group = uuid4()
    usual = {"currency_pair": "EUR/USD", "approval": Approval.APPROVED, "oco_group": group}
    made = [
        Signal.objects.create(feed=feed, **{**usual, **leg, **fields})
        for leg in legs or (BUY, SELL)
    ]
    assert services.publish(made[-1].pk, by=None)
    return list(Signal.objects.filter(oco_group=group).order_by("pk"))


def held(feed: Feed, *legs: dict[str, Any], **fields: Any) -> list[Order]:
    """Publish a pair and arm both legs."""
    signals = published(feed, *legs, **fields)
    assert factories.claim_all() == []
    orders = [Order.objects.get(signal=signal) for signal in signals]
    assert {(one.status, one.reason) for one in orders} == {("PENDING", "AWAITING_TRIGGER")}
    return orders


def source(of: ExecutionConnection) -> int:
    assert of.data_connection_id
    return of.data_connection_id


def force(order_id: int, status: str) -> None:
    """Give an order a status that its broker or a failure would have given it."""
    factories.force(
        "UPDATE execution_order SET status = %s, done_at = clock_timestamp() WHERE id = %s",
        (status, order_id),
    )


def states(*orders: Order) -> list[tuple[str, str]]:
    return [Order.objects.values_list("status", "reason").get(pk=one.pk) for one in orders]


@pytest.fixture
def monitor() -> TriggerMonitor:
    return TriggerMonitor()


# ---- what is held and sent ----------------------------------------------------------------------
def test_both_legs_are_held_though_the_broker_takes_their_types(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """The fake broker takes every type."""
    held(feed, BUY_LIMIT, SELL)
    triggers = OrderTrigger.objects.order_by("pk").values_list("kind", "sent_as", "level")
    assert list(triggers) == [
        ("IF_TOUCHED", "LIMIT", D("1.095")), ("STOP", "MARKET", D("1.095")),
    ]  # fmt: skip


@pytest.mark.parametrize(("price", "winner"), [(UP, 0), (DOWN, 1)])
def test_leg_that_is_reached_is_sent_and_cancels_the_other(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor, price: str, winner: int
) -> None:
    orders = held(feed)
    fired, other = orders[winner], orders[1 - winner]
    assert monitor.process_quotes(source(alice), quotes_of(price)) == [fired.pk]
    assert states(fired, other) == [("PENDING", "TRIGGERED"), ("CANCELLED", OVER)]
    assert factories.log_codes(other.pk)[-1] == (OVER, "CANCELLED")
    assert not OrderTrigger.objects.filter(is_armed=True).exists()
    [outgoing] = factories.claim_all()
    assert (outgoing.request.order_id, outgoing.request.order_type) == (fired.pk, OrderType.MARKET)
    opposite = DOWN if price == UP else UP
    assert monitor.process_quotes(source(alice), quotes_of(opposite, seconds=1)) == []
    assert factories.claim_all() == []


@pytest.mark.parametrize("bids", [[BETWEEN, "1.0951", "1.1048"], ["1.1048"], ["1.0951"]])
def test_prices_between_the_legs_fire_nothing(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor, bids: list[str]
) -> None:
    orders = held(feed)
    assert monitor.process_quotes(source(alice), quotes_of(*bids)) == []
    assert states(*orders) == [("PENDING", "AWAITING_TRIGGER")] * 2


def test_limit_leg_is_sent_as_a_limit_order(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    limit, stop = held(feed, BUY_LIMIT, BUY)
    assert monitor.process_quotes(source(alice), quotes_of("1.095")) == []  # its ask is above
    assert monitor.process_quotes(source(alice), quotes_of("1.0949", seconds=1)) == [limit.pk]
    [outgoing] = factories.claim_all()
    request = outgoing.request
    assert (request.order_type, request.limit_price) == (OrderType.LIMIT, D("1.095"))
    assert states(stop) == [("CANCELLED", OVER)]


@pytest.mark.parametrize(("ask", "at_market"), [("1.095", True), ("1.09501", False)])
def test_limit_leg_goes_out_at_market_where_the_broker_refuses_a_reached_limit(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monitor: TriggerMonitor,
    monkeypatch: pytest.MonkeyPatch, ask: str, at_market: bool,
) -> None:  # fmt: skip
    usual = broker.capabilities
    can: dict[str, Any] = {
        "refuses_reached": frozenset({OrderType.LIMIT}), "keeps_worst_price": True,
    }  # fmt: skip
    monkeypatch.setattr(broker, "capabilities", lambda spec: replace(usual(spec), **can))
    limit, _ = held(feed, BUY_LIMIT, BUY)
    assert monitor.process_quotes(source(alice), quotes_of("1.0949")) == [limit.pk]
    factories.quote(alice, "1.0949", ask)
    [outgoing] = factories.claim_all()
    request, limit = outgoing.request, Order.objects.get(pk=limit.pk)
    if at_market:
        assert (request.order_type, request.limit_price) == (OrderType.MARKET, None)
        assert (limit.order_type, limit.limit_price) == ("MARKET", None)
        assert request.worst_price == limit.worst_price == D("1.095")
    else:  # the market has turned, so the limit order rests
        assert (request.order_type, request.limit_price) == (OrderType.LIMIT, D("1.095"))
        assert (limit.order_type, limit.worst_price) == ("LIMIT", None)


def test_limit_leg_that_fired_is_not_armed_again_when_it_waits(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    """Its type stays LIMIT, so only the order itself says that its trigger has fired."""
    limit, _ = held(feed, BUY_LIMIT, BUY)
    monitor.process_quotes(source(alice), quotes_of("1.0949"))
    Order.objects.filter(pk=limit.pk).update(reason="CONNECTION_ERROR")
    [outgoing] = factories.claim_all()
    assert outgoing.request.order_id == limit.pk


@pytest.mark.parametrize(
    ("bids", "winner"), [([UP, DOWN], 0), ([DOWN, UP], 1), ([BETWEEN, DOWN, UP, DOWN], 1)]
)
def test_of_two_legs_in_one_batch_the_first_reached_fires(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor, bids: list[str], winner: int
) -> None:
    orders = held(feed)
    fired = monitor.process_quotes(source(alice), quotes_of(*bids))
    assert fired == [orders[winner].pk]
    assert len(factories.claim_all()) == 1


def test_each_account_has_its_own_pair(feed: Feed, broker: FakeBroker) -> None:
    """One account's prices reach a leg; the pair of the other account waits on."""
    first, second = factories.account(feed), factories.account(feed)
    published(feed)
    factories.claim_all()
    monitor = TriggerMonitor()
    [fired] = monitor.process_quotes(source(first), quotes_of(UP))
    assert Order.objects.get(pk=fired).connection == first
    waiting = Order.objects.filter(connection=second)
    if source(first) == source(second):
        pytest.skip("the accounts share their prices")
    assert set(waiting.values_list("reason", flat=True)) == {"AWAITING_TRIGGER"}


# ---- the other leg is late ----------------------------------------------------------------------
def test_leg_that_is_not_armed_yet_is_cancelled_too(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    buy, sell = (Order.objects.get(signal=one) for one in published(feed))
    claim([buy.pk], worker_id="w")
    assert monitor.process_quotes(source(alice), quotes_of(UP)) == [buy.pk]
    assert states(sell) == [("CANCELLED", OVER)]


def test_leg_that_is_written_later_ends_at_its_claim(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    buy, sell = held(feed)
    with factories.without_triggers():
        Order.objects.filter(pk=sell.pk).update(oco_group=None)
        monitor.process_quotes(source(alice), quotes_of(UP))
        Order.objects.filter(pk=sell.pk).update(
            oco_group=buy.oco_group, reason="", due_at=market_now() - timedelta(days=1)
        )
    sent = factories.claim_all()
    assert [one.request.order_id for one in sent] == [buy.pk]
    assert states(sell) == [("CANCELLED", OVER)]


def test_other_leg_stays_cancelled_when_the_fired_one_is_denied(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    buy, sell = held(feed)
    type(alice.preset).objects.update(allowed_symbols=["USD/JPY"])  # type: ignore[union-attr]
    monitor.process_quotes(source(alice), quotes_of(UP))
    assert factories.claim_all() == []
    assert states(buy, sell) == [("DENIED", "SYMBOL_NOT_ALLOWED"), ("CANCELLED", OVER)]
    assert monitor.process_quotes(source(alice), quotes_of(DOWN, seconds=1)) == []


def test_fired_leg_closes_nothing_of_another_signal(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    """The account nets, and got an opposite position after the legs were armed."""
    AccountSnapshot.objects.filter(connection=alice).update(position_mode="NETTING")
    buy, sell = held(feed)
    factories.filled(factories.signal(feed, direction="SELL", sl=D("1.12")))
    assert monitor.process_quotes(source(alice), quotes_of(UP)) == [buy.pk]
    assert factories.claim_all() == []
    assert states(buy, sell) == [("DENIED", "NETTING_OPPOSITE"), ("CANCELLED", OVER)]


def test_leg_that_is_denied_before_leaves_the_other(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    buy, sell = (Order.objects.get(signal=one) for one in published(feed))
    claim([sell.pk], worker_id="w")
    type(alice.preset).objects.update(allowed_symbols=["USD/JPY"])  # type: ignore[union-attr]
    claim([buy.pk], worker_id="w")
    assert states(buy, sell) == [("DENIED", "SYMBOL_NOT_ALLOWED"), ("PENDING", "AWAITING_TRIGGER")]
    type(alice.preset).objects.update(allowed_symbols=[])  # type: ignore[union-attr]
    assert monitor.process_quotes(source(alice), quotes_of(DOWN)) == [sell.pk]
    assert states(buy) == [("DENIED", "SYMBOL_NOT_ALLOWED")]


def test_fired_leg_that_a_person_retries_is_sent_again_alone(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    buy, sell = held(feed)
    monitor.process_quotes(source(alice), quotes_of(UP))
    factories.claim_all()
    force(buy.pk, "FAILED")
    retry_order(buy.pk)
    [outgoing] = factories.claim_all()
    assert outgoing.request.order_type is OrderType.MARKET
    assert states(sell) == [("CANCELLED", OVER)]


def test_changed_price_of_a_limit_leg_is_its_new_trigger(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    limit, _ = held(feed, BUY_LIMIT, BUY)
    change_order(limit.pk, WantedTerms(limit_price=D("1.094")))
    assert monitor.process_quotes(source(alice), quotes_of("1.0949")) == []
    assert monitor.process_quotes(source(alice), quotes_of("1.0939", seconds=1)) == [limit.pk]
    [outgoing] = factories.claim_all()
    assert outgoing.request.limit_price == D("1.094")


TRAILING_SELL: dict[str, Any] = {
    "order_type": "TRAILING_STOP", "trail_distance": D("0.005"), "direction": "SELL",
    "sl": D("1.13"),
}  # fmt: skip
LATER_SELL = TRAILING_SELL | {"activation_price": D("1.108")}


@pytest.mark.parametrize(
    ("trailing", "before", "bids", "winner"),
    [
        (TRAILING_SELL, [], ["1.1060", "1.1000"], "stop"),  # the price falls after the buy stop
        (TRAILING_SELL, [], ["1.1040", "1.0980", "1.1060"], "trailing"),  # it fell before
        (TRAILING_SELL, ["1.1040"], ["1.0990", "1.1060"], "trailing"),  # from an earlier price
        (TRAILING_SELL, ["1.1040"], ["1.0991", "1.1060", "1.0991"], "stop"),
        (TRAILING_SELL, [], ["1.0949", "1.1060"], "trailing"),  # from the price at its start
        (LATER_SELL, [], ["1.1060", "1.1080", "1.1000"], "stop"),
        (LATER_SELL, ["1.1040"], ["1.0980", "1.1060"], "stop"),  # it did not follow yet
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_first_reached_of_trailing_stop_and_other_leg_fires(
    alice: ExecutionConnection,
    feed: Feed,
    monitor: TriggerMonitor,
    trailing: dict[str, Any],
    before: list[str],
    bids: list[str],
    winner: str,
    is_first: bool,
) -> None:
    """One batch reaches both, or only the stop; whichever leg is the older one."""
    orders = held(feed, *((trailing, BUY) if is_first else (BUY, trailing)))
    names = {one.pk: one.order_type for one in orders}
    if before:
        assert monitor.process_quotes(source(alice), quotes_of(*before)) == []
    [fired] = monitor.process_quotes(source(alice), quotes_of(*bids, seconds=1))
    assert names[fired] == ("STOP" if winner == "stop" else "TRAILING_STOP")


# ---- what ends a pair ---------------------------------------------------------------------------
def test_cancelling_one_order_cancels_both(alice: ExecutionConnection, feed: Feed) -> None:
    buy, sell = held(feed)
    assert cancel_order(sell.pk) == "CANCELLED"
    assert states(buy, sell) == [("CANCELLED", "OWNER_CANCELLED")] * 2
    with pytest.raises(ConflictError):
        cancel_order(buy.pk)


def test_cancelling_the_fired_leg_leaves_the_others_reason(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    buy, sell = held(feed)
    monitor.process_quotes(source(alice), quotes_of(UP))
    cancel_order(buy.pk)
    assert states(buy, sell) == [("CANCELLED", "OWNER_CANCELLED"), ("CANCELLED", OVER)]


def test_order_that_ended_does_not_stand_for_its_other_leg(
    alice: ExecutionConnection, feed: Feed
) -> None:
    buy, sell = held(feed)
    force(buy.pk, "EXPIRED")
    with pytest.raises(ConflictError):
        cancel_order(buy.pk)
    assert states(sell) == [("PENDING", "AWAITING_TRIGGER")]


@pytest.mark.parametrize(
    ("how", "code"), [("close", "CLOSED_BEFORE_SENT"), ("cancel", "SIGNAL_CANCELLED")]
)
def test_closing_or_cancelling_one_signal_ends_both_legs(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor, how: str, code: str
) -> None:
    buy, sell = held(feed)
    assert buy.signal is not None
    if how == "close":
        factories.close_signal(buy.signal)
    else:
        services.cancel(buy.signal.pk, by=None)
        assert Signal.objects.filter(cancelled_at=None).count() == 0
    assert states(buy, sell) == [("CANCELLED", code)] * 2
    assert monitor.process_quotes(source(alice), quotes_of(UP, DOWN)) == []


def test_close_of_the_other_leg_leaves_the_fired_one(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    buy, sell = held(feed)
    monitor.process_quotes(source(alice), quotes_of(UP))
    assert sell.signal is not None
    factories.close_signal(sell.signal)
    assert states(buy) == [("PENDING", "TRIGGERED")]


def test_each_leg_ends_with_its_own_validity(
    alice: ExecutionConnection, feed: Feed, monitor: TriggerMonitor
) -> None:
    until = market_now() + timedelta(minutes=5)
    buy, sell = held(feed, BUY | {"valid_until": until}, SELL)
    factories.pass_time(301)
    factories.quote(alice)
    factories.claim_all()
    assert states(buy, sell) == [("EXPIRED", "SIGNAL_EXPIRED"), ("PENDING", "AWAITING_TRIGGER")]


def test_approval_of_one_leg_approves_both(
    alice: ExecutionConnection, feed: Feed, django_user_model: Any
) -> None:
    group = uuid4()
    legs = [
        Signal.objects.create(feed=feed, currency_pair="EUR/USD", oco_group=group, **leg)
        for leg in (BUY, SELL)
    ]
    operator = django_user_model.objects.create_superuser("op", "op@example.com", "x")
    services.approve(legs[0].pk, by=operator)
    assert set(Signal.objects.values_list("approval", flat=True)) == {"APPROVED"}
    assert services.publish(legs[0].pk, by=None)
    assert not services.publish(legs[1].pk, by=None)
    assert Order.objects.count() == 2


# ---- exactly one --------------------------------------------------------------------------------
def test_database_refuses_a_leg_that_has_not_fired(alice: ExecutionConnection, feed: Feed) -> None:
    buy, sell = held(feed)
    with pytest.raises(IntegrityError, match="sent_oco_leg"), transaction.atomic():
        Order.objects.filter(pk=buy.pk).update(status="SUBMITTING", quantity=1)
    Order.objects.filter(pk=buy.pk).update(oco_fired=True)
    with pytest.raises(IntegrityError, match="one_oco_leg_fires"), transaction.atomic():
        Order.objects.filter(pk=sell.pk).update(oco_fired=True)


@pytest.mark.django_db(transaction=True)
def test_two_processes_that_reach_both_legs_send_one(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """Each has its own prices and its own connection to the database, and both start together."""
    for round_number in range(8):
        orders = held(feed)
        start = threading.Barrier(2)

        def judge(price: str, start: threading.Barrier = start) -> list[int]:
            try:
                start.wait(60)
                return TriggerMonitor().process_quotes(source(alice), quotes_of(price))
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as pool:
            fired = [one for ids in pool.map(judge, (UP, DOWN)) for one in ids]
        assert len(fired) == 1, round_number
        ended = [one for one in orders if one.pk not in fired]
        assert states(*ended) == [("CANCELLED", OVER)]
        [outgoing] = factories.claim_all()
        assert outgoing.request.order_id == fired[0]
        force(fired[0], "REJECTED")


def test_no_sequence_of_events_sends_two_legs(alice: ExecutionConnection, feed: Feed) -> None:
    """Random quotes, claims, cancels and closes: of a pair at most one order is ever sent."""
    for seed in range(12):
        random = Random(seed)
        legs = random.choice([(BUY, SELL), (BUY_LIMIT, BUY), (BUY_LIMIT, SELL)])
        signals = published(feed, *legs)
        monitors = [TriggerMonitor(), TriggerMonitor()]
        sent: list[int] = []
        for step in range(15):
            match random.choice(("quotes", "quotes", "claim", "cancel", "close")):
                case "quotes":
                    bids = random.choices((UP, DOWN, BETWEEN), k=random.randint(1, 3))
                    random.choice(monitors).process_quotes(
                        source(alice), quotes_of(*bids, seconds=step)
                    )
                case "claim":
                    sent += [one.request.order_id for one in factories.claim_all()]
                case "cancel" if step > 10:
                    _try_to_cancel(random.choice(signals))
                case "close" if step > 12:
                    services.cancel(random.choice(signals).pk, by=None)
        sent += [one.request.order_id for one in factories.claim_all()]
        assert len(sent) <= 1, seed
        for order in Order.objects.filter(signal__in=signals, status="SUBMITTING"):
            force(order.pk, "REJECTED")


def _try_to_cancel(signal: Signal) -> None:
    try:
        cancel_order(Order.objects.get(signal=signal).pk)
    except ConflictError:
        return
