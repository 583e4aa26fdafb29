"""Changes of entries that their broker does not have yet: held by the engine, or waiting."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import transaction

from brokers.base import NotSent
from brokers.types import OrderType, Quote, TimeInForce
from common.clocks import market_now
from common.db.sql import rows
from common.errors import InvalidInputError, NotAllowedError
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.changes.order_changes import change_order
from execution.models import EntryChange, ExecutionLog, Order
from execution.monitoring import trigger_monitor
from execution.monitoring.trigger_monitor import TriggerMonitor
from execution.submission.change_terms import WantedTerms
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from users.tenancy import act_as, acting_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def no_stops(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker takes market and limit orders only; the engine holds stop orders."""
    usual = broker.capabilities
    monkeypatch.setattr(
        broker,
        "capabilities",
        lambda spec: replace(
            usual(spec),
            order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
            times_in_force=frozenset({TimeInForce.GTC}),
        ),
    )


@pytest.fixture
def held(alice: ExecutionConnection, feed: Feed, no_stops: None) -> Order:
    """A buy stop at 1.105 that the engine holds."""
    return arm(feed)


def arm(feed: Feed, **fields: Any) -> Order:
    usual: dict[str, Any] = {"order_type": "STOP", "stop_price": D("1.105")}
    signal = factories.signal(feed, **usual | fields)
    assert factories.claim_all() == []
    return Order.objects.get(signal=signal)


def change(of: Order, **wanted: str) -> EntryChange:
    terms: dict[str, Any] = {name: D(text) for name, text in wanted.items()}
    return change_order(of.pk, WantedTerms(**terms))


def judge(monitor: TriggerMonitor, alice: ExecutionConnection, *bids: str) -> list[int]:
    at = market_now() + timedelta(seconds=1)
    quotes = [Quote("EUR/USD", D(bid), D(bid) + D("0.0001"), at) for bid in bids]
    return monitor.process_quotes(alice.data_connection_id or 0, quotes)


# ---- held by the engine -------------------------------------------------------------------------
def test_held_order_fires_at_its_new_level(held: Order, alice: ExecutionConnection) -> None:
    done = change(held, stop_price="1.11")
    held.refresh_from_db()
    assert (done.state, held.stop_price, held.trigger.level) == ("DONE", D("1.11"), D("1.11"))
    assert held.detail == "Emulated: stop at 1.11"
    assert factories.log_codes(held.pk)[-1] == ("ORDER_CHANGED", "PENDING")
    monitor = TriggerMonitor()
    assert judge(monitor, alice, "1.1055") == []
    assert judge(monitor, alice, "1.1102") == [held.pk]


def test_price_from_before_the_change_does_not_fire_it(
    held: Order, alice: ExecutionConnection
) -> None:
    monitor = TriggerMonitor()
    change(held, stop_price="1.103")  # counts from now on
    at = market_now()
    early = [Quote("EUR/USD", D("1.1040"), D("1.1041"), at)]
    assert monitor.process_quotes(alice.data_connection_id or 0, early, waited=5.0) == []
    assert judge(monitor, alice, "1.1041") == [held.pk]


def test_hit_of_the_old_level_that_was_locked_out_does_not_fire_later(
    held: Order, alice: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = TriggerMonitor()
    fire = trigger_monitor.FIRE
    monkeypatch.setattr(trigger_monitor, "FIRE", fire.replace("t.is_armed", "false"))  # locked
    assert judge(monitor, alice, "1.1060") == []
    monkeypatch.setattr(trigger_monitor, "FIRE", fire)
    change(held, stop_price="1.12")
    assert judge(monitor, alice, "1.1030") == []
    assert monitor._unjudged == {}
    assert judge(monitor, alice, "1.1230") == [held.pk]


def test_quantity_of_a_held_order_replaces_the_presets_size(
    held: Order, alice: ExecutionConnection, broker: FakeBroker
) -> None:
    change(held, quantity="70")
    judge(TriggerMonitor(), alice, "1.1061")
    factories.quote(alice, "1.1061")
    [outgoing] = factories.claim_all()
    assert outgoing.request.quantity == D(70)


def test_fired_order_is_not_changed_like_a_held_one(
    held: Order, alice: ExecutionConnection
) -> None:
    judge(TriggerMonitor(), alice, "1.1061")
    with pytest.raises(InvalidInputError):
        change(held, stop_price="1.12")  # a market order by now


def test_trailing_stop_keeps_its_distance(
    alice: ExecutionConnection, feed: Feed, no_stops: None
) -> None:
    fields = {"stop_price": None, "order_type": "TRAILING_STOP", "trail_distance": D("0.005")}
    order = arm(feed, **fields)
    level = order.trigger.level
    change(order, quantity="70")
    with pytest.raises(InvalidInputError):
        change(order, stop_price="1.2")
    order.trigger.refresh_from_db()
    assert order.trigger.level == level


def test_level_on_the_wrong_side_of_the_stop_is_refused(held: Order) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        change(held, stop_price="1.08")
    assert (refusal.value.code, refusal.value.field) == ("STOP_AT_ENTRY", "stop_price")


# ---- waiting ------------------------------------------------------------------------------------
def test_waiting_order_is_sent_with_its_new_values(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    factories.signal(feed, order_type="LIMIT", open_price=D("1.095"))
    [outgoing] = factories.claim_all()
    factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))
    order = Order.objects.get()
    assert order.status == "PENDING"
    change(order, limit_price="1.0943", quantity="60")
    factories.pass_time(10)
    [again] = factories.claim_all()
    assert (again.request.limit_price, again.request.quantity) == (D("1.0943"), D(60))
    assert again.request.client_order_id == outgoing.request.client_order_id


def test_changed_quantity_is_limited_when_it_is_sent(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, preset_max_quantity=D(100))
    factories.signal(feed, order_type="LIMIT", open_price=D("1.095"))
    order = Order.objects.get()
    change(order, quantity="110")
    assert factories.claim_all() == []
    order.refresh_from_db()
    assert (order.status, order.reason) == ("DENIED", "MAX_QUANTITY")


def test_changes_of_other_peoples_orders_are_refused(held: Order) -> None:
    with pytest.raises(NotAllowedError):
        change_order(held.pk, WantedTerms(quantity=D(50)), by=make.user("mallory"))


def test_change_states_who_and_from_what_to_what(held: Order, alice: ExecutionConnection) -> None:
    wanted = WantedTerms(quantity=D(50), stop_price=D("1.106"))
    assert alice.user is not None
    done = change_order(held.pk, wanted, by=alice.user)
    assert done.requested_by == alice.user
    line = ExecutionLog.objects.filter(order_id=held.pk).latest("id")
    assert line.detail == (
        "quantity by the preset to 50, stop price 1.105 to 1.106; by " + alice.user.get_username()
    )


def test_owner_changes_orders_through_the_web_role(held: Order, alice: ExecutionConnection) -> None:
    assert alice.user is not None
    with transaction.atomic():
        rows("SET LOCAL ROLE fillcast_web")
        act_as(alice.user)
        change_order(held.pk, WantedTerms(stop_price=D("1.11")), by=alice.user)
        assert acting_for() == alice.user.pk
        rows("RESET ROLE")
    held.trigger.refresh_from_db()
    assert held.trigger.level == D("1.11")


def faults_of(of: Order, **wanted: str) -> set[tuple[str, str]]:
    """Return (field, code) of each fault for which a change is refused."""
    terms: dict[str, Any] = {name: D(value) for name, value in wanted.items()}
    with pytest.raises(InvalidInputError) as refused, transaction.atomic():
        change_order(of.pk, WantedTerms(**terms))
    errors = (refused.value, *refused.value.others)
    return {(error.field, str(error.code)) for error in errors}


def test_change_of_a_waiting_entry_is_refused_with_all_its_faults(held: Order) -> None:
    faults = faults_of(held, quantity="0.0001", stop_loss="1.2", take_profit="1.0")
    assert {field for field, _ in faults} == {"quantity", "stop_loss", "take_profit"}
    faults = faults_of(held, quantity="-5", limit_price="1.1", stop_loss="1.2")
    assert {field for field, _ in faults} == {"quantity", "limit_price"}  # levels need its price
    faults = faults_of(held, quantity="-5", stop_loss="1.2")
    assert faults == {("quantity", "FIELD_INVALID"), ("stop_loss", "STOP_WRONG_SIDE")}


def test_change_of_an_order_at_its_broker_is_refused_with_its_and_our_faults(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    signal = factories.signal(feed, order_type="LIMIT", open_price=D("1.095"))
    [outgoing] = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    order = Order.objects.get(signal=signal)
    faults = faults_of(order, quantity="0.0001", stop_loss="1.2", take_profit="1.0")
    assert {field for field, _ in faults} == {"quantity", "stop_loss", "take_profit"}
