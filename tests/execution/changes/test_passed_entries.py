"""A MODIFY moves the stop or a target past the price of entries that have not filled."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any
from uuid import uuid4

import pytest

from analytics.orders.explanations import explain
from brokers.types import OrderType as BrokerOrderType
from common.clocks import market_now
from common.errors import InvalidInputError
from connections.models import ExecutionConnection, TradingPreset
from execution.audit.counters import audit
from execution.changes.order_changes import change_order
from execution.changes.passed_entries import passed_level
from execution.changes.position_levels import modify_position
from execution.models import EntryChange, Order, OrderTrigger
from execution.monitoring.pending_actions import process_pending_actions
from execution.monitoring.stop_rules import judge_due
from execution.recovery import sweeps
from execution.runtime.trading_runtime import TradingRuntime
from execution.submission.change_terms import WantedTerms
from positions.models import ExecutionPosition
from signals.models import Action, Feed, Origin, Signal
from signals.publishing.ingest import save_draft
from signals.reading.draft import SignalDraft, Target
from signals.reading.errors import field_errors
from signals.services import publish
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db
PRICE = D("1.09500")
PASSED = D("1.09700")  # a stop beyond it
ENDED = ("CANCELLED", "LEVEL_PAST_ENTRY")
LIMIT: dict[str, Any] = {"order_type": "LIMIT", "open_price": PRICE}


@pytest.fixture(autouse=True)
def account(alice: ExecutionConnection, runtime: TradingRuntime) -> ExecutionConnection:
    return alice


def opened(feed: Feed, targets: list[tuple[str, str]] | None = None, **fields: Any) -> Signal:
    return factories.signal(feed, targets or (), **LIMIT | fields)


def modify(of: Signal, targets: list[tuple[str, str]] | None = None, **fields: Any) -> Signal:
    usual: dict[str, Any] = {"sl": None, "direction": of.direction, "refers_to": of}
    return factories.signal(of.feed, targets or (), action="MODIFY", **usual | fields)


def send(broker: FakeBroker) -> None:
    for outgoing in factories.claim_all():
        factories.answer(outgoing, broker.rest(outgoing.request))


def order(**fields: Any) -> Order:
    return Order.objects.get(leg="entry", **fields)


def state(of: Order | None = None) -> tuple[str, str]:
    found = of or order()
    return found.status, found.reason


def settle() -> None:
    for _ in range(3):
        process_pending_actions()
        factories.pass_time(2)


# ---- each state ----------------------------------------------------------------------------------
@pytest.fixture
def signal(feed: Feed) -> Signal:
    return opened(feed)


def test_entry_that_is_not_sent_is_never_sent(feed: Feed, broker: FakeBroker) -> None:
    follower = modify(opened(feed), sl=PASSED)
    assert state() == ENDED
    assert order().detail == f"Entry price: 1.095, stop loss 1.097; by {follower.number}"
    assert factories.claim_all() == []
    [event] = factories.events("order.cancelled")
    assert (event["code"], event["figures"]["value"], event["figures"]["compared_with"]) == (
        "LEVEL_PAST_ENTRY", "1.095", "1.097",
    )  # fmt: skip
    assert factories.log_codes(order().pk)[-1] == ("LEVEL_PAST_ENTRY", "CANCELLED")
    assert "past the price" in explain(order()).summary
    assert audit().ok


def test_entry_that_works_is_cancelled_at_its_broker(broker: FakeBroker, signal: Signal) -> None:
    send(broker)
    modify(signal, sl=PASSED)
    assert (order().status, order().pending_action) == ("SUBMITTED", "PASSED")
    settle()
    assert state() == ENDED
    assert "1.097" in order().detail
    assert not ExecutionPosition.objects.exists()


def test_modify_that_overtakes_the_entry_cancels_it_once_it_is_known(
    broker: FakeBroker, signal: Signal
) -> None:
    [outgoing] = factories.claim_all()  # being sent
    modify(signal, sl=PASSED)
    settle()
    assert state()[0] == "SUBMITTING"
    factories.answer(outgoing, broker.rest(outgoing.request))
    settle()
    assert state() == ENDED
    assert "1.097" in order().detail


def test_entry_in_doubt_is_cancelled_once_it_is_found(broker: FakeBroker, signal: Signal) -> None:
    [outgoing] = factories.claim_all()
    Order.objects.update(status="UNKNOWN")
    modify(signal, sl=PASSED)
    settle()
    assert (order().status, order().pending_action) == ("UNKNOWN", "PASSED")
    factories.apply(*broker.rest(outgoing.request))
    settle()
    assert state() == ENDED


def test_entry_that_fills_before_its_cancel_has_the_moved_stop(
    broker: FakeBroker, signal: Signal
) -> None:
    send(broker)
    modify(signal, sl=PASSED)
    factories.apply(broker.execute(broker.tickets[0]))
    settle()
    assert (order().status, order().pending_action) == ("FILLED", "")
    assert ExecutionPosition.objects.get().sl == PASSED


def test_what_has_filled_keeps_its_position_with_the_moved_stop(
    broker: FakeBroker, signal: Signal
) -> None:
    send(broker)
    factories.apply(broker.execute(broker.tickets[0], D(40)))
    modify(signal, sl=PASSED)
    settle()
    assert state() == ENDED
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.sl) == (D(40), PASSED)


def test_followers_who_are_in_only_get_the_stop(broker: FakeBroker, signal: Signal) -> None:
    send(broker)
    factories.apply(broker.execute(broker.tickets[0]))
    modify(signal, sl=PASSED)
    settle()
    assert (order().status, ExecutionPosition.objects.get().sl) == ("FILLED", PASSED)


@pytest.mark.parametrize("action", ["CANCEL", "CLOSE", "EXPIRE"])
def test_cancel_in_flight_keeps_its_cause(broker: FakeBroker, action: str, signal: Signal) -> None:
    send(broker)
    Order.objects.update(pending_action=action)
    modify(signal, sl=PASSED)
    assert order().pending_action == action


def test_held_entry_ends_and_does_not_fire(feed: Feed, broker: FakeBroker) -> None:
    signal = factories.signal(feed, order_type="IF_TOUCHED", stop_price=PRICE)
    factories.claim_all()
    assert order().reason == "AWAITING_TRIGGER"
    modify(signal, sl=PASSED)
    assert state() == ENDED
    assert not OrderTrigger.objects.filter(is_armed=True, order__status="PENDING").exists()


def test_conditional_entry_ends(feed: Feed, broker: FakeBroker) -> None:
    signal = opened(feed, not_before=market_now() + timedelta(hours=1))
    assert order().awaits_condition
    modify(signal, sl=PASSED)
    assert state() == ENDED


def test_leg_of_a_pair_ends_and_leaves_the_other_one(feed: Feed, broker: FakeBroker) -> None:
    group = uuid4()
    limit, stop = (
        Signal.objects.create(
            feed=feed, currency_pair="EUR/USD", direction="BUY", sl=D("1.09"),
            approval="APPROVED", oco_group=group, **fields,
        )
        for fields in (LIMIT, {"order_type": "STOP", "stop_price": D("1.2")})
    )  # fmt: skip
    assert publish(limit.pk, by=None)
    factories.claim_all()
    modify(Signal.objects.get(pk=limit.pk), sl=PASSED)
    assert state(order(signal=limit)) == ENDED
    assert order(signal=stop).status == "PENDING"


def test_entry_at_market_is_judged_when_it_is_sent(feed: Feed, broker: FakeBroker) -> None:
    signal = factories.signal(feed)
    modify(signal, sl=D("1.5"))
    assert order().status == "PENDING"
    factories.claim_all()
    assert state() == ("DENIED", "STOP_AT_ENTRY")


# ---- which levels --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("direction", "sl", "moved", "ends"),
    [
        ("BUY", "1.09", "1.09499", False),
        ("BUY", "1.09", "1.095", True),
        ("BUY", "1.09", "1.09501", True),
        ("SELL", "1.11", "1.09501", False),
        ("SELL", "1.11", "1.095", True),
        ("SELL", "1.11", "1.09499", True),
    ],
)
def test_stop_at_the_price_has_passed_it(
    feed: Feed, broker: FakeBroker, direction: str, sl: str, moved: str, ends: bool
) -> None:
    modify(opened(feed, direction=direction, sl=D(sl)), sl=D(moved))
    assert (state() == ENDED) is ends


def test_target_that_is_moved_past_the_price_ends_the_entry_as_well(
    feed: Feed, broker: FakeBroker
) -> None:
    signal = opened(feed, [("1.12", "1")])
    modify(signal, [("1.096", "1")])
    assert order().status == "PENDING"
    modify(signal, [("1.094", "0.5"), ("1.12", "0.5")])
    assert state() == ENDED
    assert "target 1.094" in order().detail


@pytest.mark.parametrize(
    ("levels", "ends"),
    [({"targets": [("1.10", "1")]}, False), ({"sl": D("1.09")}, False), ({"sl": D("1.11")}, True)],
)
def test_trailing_stop_that_its_broker_has_moved_is_compared_with_stops_only(
    feed: Feed, broker: FakeBroker, levels: dict[str, Any], ends: bool
) -> None:
    """Its first price is 1.105; where it is now, only its broker knows."""
    broker.order_types = frozenset(BrokerOrderType)
    signal = factories.signal(
        feed, [("1.12", "1")], order_type="TRAILING_STOP", trail_distance=D("0.005"), sl="1.08"
    )
    send(broker)
    assert (order().status, order().stop_price) == ("SUBMITTED", D("1.105"))
    modify(signal, **levels)
    assert order().pending_action == ("PASSED" if ends else "")


def test_own_stop_of_an_entry_gives_way_to_the_moved_one(
    broker: FakeBroker, signal: Signal
) -> None:
    change_order(order().pk, WantedTerms(stop_loss=D("1.08")))
    modify(signal, sl=PASSED)
    assert state() == ENDED


@pytest.mark.parametrize(
    ("sign", "limit", "stop", "sl", "targets", "passed"),
    [
        (1, "1.2", "1.1", "1.15", (), "1.1"),  # the trigger of a stop-limit order
        (1, "1.2", "1.1", "1.05", ("1.15",), "1.2"),  # its targets count from the limit
        (1, "1.1", "1.2", "1.05", ("1.15",), None),
        (-1, None, "1.1", "1.1", (), "1.1"),
        (-1, None, "1.1", None, (), None),
        (1, None, None, "1.1", ("1.0",), None),
    ],
)
def test_level_that_has_passed_a_price(
    sign: int, limit: str | None, stop: str | None, sl: str | None, targets: tuple[str, ...],
    passed: str | None,
) -> None:  # fmt: skip
    at, trigger, level = (None if text is None else D(text) for text in (limit, stop, sl))
    found = passed_level(sign, at, trigger, level, [D(text) for text in targets])
    assert (found.value if found else None) == passed


# ---- with a new price ----------------------------------------------------------------------------
def test_entry_that_gets_a_fitting_price_with_the_stop_stays(
    broker: FakeBroker, signal: Signal
) -> None:
    send(broker)
    modify(signal, sl=PASSED, open_price=D("1.0990"))
    settle()
    assert (order().status, order().limit_price) == ("SUBMITTED", D("1.0990"))


@pytest.mark.parametrize("how", ["unsupported", "refused"])
def test_entry_whose_new_price_is_refused_is_cancelled(
    broker: FakeBroker, how: str, signal: Signal
) -> None:
    send(broker)
    if how == "unsupported":
        broker.changes_orders = frozenset()
    broker.changing = "refuse"
    modify(signal, sl=PASSED, open_price=D("1.0990"))
    settle()
    settle()
    assert state() == ENDED
    assert [one.state for one in EntryChange.objects.all()] == ["REFUSED"]


def test_price_that_passes_an_entrys_own_stop_is_refused_for_it_alone(
    broker: FakeBroker, signal: Signal
) -> None:
    change_order(order().pk, WantedTerms(stop_loss=D("1.0940")))
    modify(signal, open_price=D("1.0930"))
    settle()
    assert (order().status, order().limit_price) == ("PENDING", PRICE)
    assert EntryChange.objects.latest("pk").code == "STOP_AT_ENTRY"


# ---- entry points -------------------------------------------------------------------------------
def refused(feed: Feed, **fields: Any) -> list[tuple[str, str, str]]:
    draft = SignalDraft(action=Action.MODIFY, **fields)
    with pytest.raises(InvalidInputError) as raised:
        save_draft(feed, draft, origin=Origin.API, by=None)
    return [(one.code.value, one.field, one.detail) for one in field_errors(raised.value)]


def test_price_beyond_the_stop_of_now_is_not_published(feed: Feed) -> None:
    signal = opened(feed, [("1.12", "1")])
    modify(signal, sl=D("1.0920"))
    [(code, field, detail)] = refused(feed, refers_to=signal.pk, open_price=D("1.0910"))
    assert (code, field) == ("STOP_WRONG_SIDE", "open_price")
    assert "1.091 " in detail
    assert "1.092." in detail
    assert "move the stop" in detail
    [(code, field, _)] = refused(feed, refers_to=signal.pk, open_price=D("1.12"))
    assert (code, field) == ("TARGET_WRONG_SIDE", "open_price")
    assert Signal.objects.filter(action="MODIFY").count() == 1


def test_price_is_compared_with_the_levels_beside_it_and_all_faults_are_stated(
    feed: Feed, signal: Signal
) -> None:
    found = refused(
        feed, refers_to=signal.pk, open_price=D("1.093"), sl=D("1.094"),
        targets=(Target(D("1.095"), D(1)),), stop_price=D("1.1"),
    )  # fmt: skip
    assert [one[:2] for one in found] == [
        ("FIELD_INVALID", "stop_price"), ("STOP_WRONG_SIDE", "open_price"),
    ]  # fmt: skip
    draft = SignalDraft(
        action=Action.MODIFY, refers_to=signal.pk, open_price=D("1.085"), sl=D("1.08")
    )
    assert save_draft(feed, draft, origin=Origin.API, by=None)[1]


def test_trigger_price_is_compared_as_well(feed: Feed) -> None:
    signal = factories.signal(
        feed, order_type="STOP", direction="SELL", stop_price=D("1.08"), sl=D("1.09")
    )
    [(code, field, _)] = refused(feed, refers_to=signal.pk, stop_price=D("1.09"))
    assert (code, field) == ("STOP_WRONG_SIDE", "stop_price")


def test_stop_that_moved_before_the_publication_counts(feed: Feed, signal: Signal) -> None:
    draft = SignalDraft(action=Action.MODIFY, refers_to=signal.pk, open_price=D("1.0910"))
    written, _ = save_draft(feed, draft, origin=Origin.API, by=None)
    Signal.objects.filter(pk=written.pk).update(approval="APPROVED")
    modify(signal, sl=D("1.0920"))
    with pytest.raises(InvalidInputError) as raised:
        publish(written.pk, by=None)
    assert (raised.value.code, raised.value.field) == ("STOP_WRONG_SIDE", "open_price")
    assert order().limit_price == PRICE


@pytest.mark.parametrize("is_sent", [False, True])
@pytest.mark.parametrize("has_quote", [False, True])
def test_price_by_hand_beyond_the_stop_of_now_is_refused(
    feed: Feed, broker: FakeBroker, is_sent: bool, has_quote: bool
) -> None:
    signal = opened(feed, [("1.12", "1")])
    if is_sent:
        send(broker)
    modify(signal, sl=D("1.0920"))
    if not has_quote:
        factories.force("DELETE FROM prices_latestquote")
    wanted = WantedTerms(limit_price=D("1.0920"), quantity=D(-1))
    with pytest.raises(InvalidInputError) as raised:
        change_order(order().pk, wanted)
    assert [(one.code, one.field) for one in field_errors(raised.value)] == [
        ("STOP_AT_ENTRY", "limit_price"), ("FIELD_INVALID", "quantity"),
    ]  # fmt: skip
    assert "1.092" in str(raised.value)
    with pytest.raises(InvalidInputError) as raised:
        change_order(order().pk, WantedTerms(limit_price=D("1.13")))
    assert (raised.value.code, raised.value.field) == ("TARGET_WRONG_SIDE", "limit_price")
    assert order().limit_price == PRICE


def test_expired_sweep_leaves_an_entry_that_is_being_cancelled(
    feed: Feed, broker: FakeBroker
) -> None:
    signal = opened(feed, valid_until=market_now() + timedelta(minutes=1))
    send(broker)
    modify(signal, sl=PASSED)
    factories.force("UPDATE signals_signal SET valid_until = valid_until - interval '1 hour'")
    assert sweeps.cancel_expired_working() == 0
    assert order().pending_action == "PASSED"


# ---- the levels of a position that a part has opened ---------------------------------------------
def partly_filled(feed: Feed, broker: FakeBroker) -> ExecutionPosition:
    """40 of 100 at 1.095."""
    opened(feed)
    send(broker)
    factories.apply(broker.execute(broker.tickets[0], D(40)))
    return ExecutionPosition.objects.get()


@pytest.mark.parametrize(
    "levels",
    [{"stop_loss": PASSED, "take_profit": None}, {"stop_loss": PRICE, "take_profit": None}],
)
def test_stop_moved_by_hand_past_the_price_of_the_rest_cancels_it(
    feed: Feed, broker: FakeBroker, levels: dict[str, Any]
) -> None:
    position = partly_filled(feed, broker)
    modify_position(position.pk, **levels)
    settle()
    assert state() == ENDED
    stop = levels["stop_loss"].normalize()
    assert order().detail == f"Entry price: 1.095, stop loss {stop}; by the levels of its position"
    position.refresh_from_db()
    assert (position.quantity, position.sl) == (D(40), levels["stop_loss"])
    assert audit().ok


def test_stop_moved_by_hand_before_the_price_lets_the_rest_work(
    feed: Feed, broker: FakeBroker
) -> None:
    position = partly_filled(feed, broker)
    modify_position(position.pk, stop_loss=D("1.0949"), take_profit=None)
    settle()
    assert state() == ("PARTIALLY_FILLED", "")


def test_trailing_stop_past_the_price_of_the_rest_cancels_it(
    feed: Feed, broker: FakeBroker, account: ExecutionConnection
) -> None:
    rule = {"trailing_distance": D(30), "trailing_step": D(5)}
    assert account.preset_id is not None
    TradingPreset.objects.filter(pk=account.preset_id).update(**rule)
    position = partly_filled(feed, broker)
    assert judge_due() == [position.pk]  # the bid is 1.0999
    settle()
    assert state() == ENDED
    position.refresh_from_db()
    assert position.sl == D("1.0969")


def test_price_that_moves_with_the_stop_keeps_the_rest(feed: Feed, broker: FakeBroker) -> None:
    """The new price is requested already."""
    position = partly_filled(feed, broker)
    broker.changing = "silent"
    change_order(order().pk, WantedTerms(limit_price=D("1.0990")))
    process_pending_actions()
    modify_position(position.pk, stop_loss=PASSED, take_profit=None)
    settle()
    assert order().status == "PARTIALLY_FILLED"
