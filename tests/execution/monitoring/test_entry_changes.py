"""Changes of working orders at their broker: done once, whatever becomes of the answer."""

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from analytics.orders.rounding_debt import rounding_debts
from brokers.base import OutcomeUnknown, Rejected
from brokers.types import (
    BrokerOrder,
    ChangeRequest,
    ConnectionSpec,
    OrderField,
    OrderReport,
    OrderTerms,
    ReportKind,
)
from common.db.sql import database_now
from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from connections.models import ExecutionConnection, TradingPreset
from connections.selectors import spec_for
from execution.changes.forms import change_line
from execution.changes.order_changes import change_order
from execution.dispatch.background_calls import BackgroundCall, CallResult
from execution.dispatch.report_writer import record_call_results
from execution.models import ChangeState, EntryChange, Order
from execution.monitoring.pending_actions import process_pending_actions
from execution.reconciliation.late_changes import take_over_late_changes
from execution.reconciliation.reconcile import reconcile
from execution.recovery import stale_orders, sweeps
from execution.runtime.trading_runtime import TradingRuntime, run_call
from execution.services import cancel_order
from execution.submission.change_terms import WantedTerms
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.fake_broker_book import Ticket

pytestmark = pytest.mark.django_db
PRICE, NEW_PRICE = D("1.09500"), D("1.09400")


@pytest.fixture
def order(alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime) -> Order:
    """A limit order of 100 that works at the broker."""
    return working(feed)


def working(feed: Feed) -> Order:
    signal = factories.signal(feed, order_type="LIMIT", open_price=PRICE)
    [outgoing] = factories.claim_all()
    factories.answer(outgoing, factories.fake_broker().rest(outgoing.request))
    return Order.objects.get(signal=signal)


def request(of: Order, **wanted: str) -> EntryChange:
    terms: dict[str, Any] = {name: D(text) for name, text in wanted.items()}
    return change_order(of.pk, WantedTerms(**terms))


def terms() -> tuple[str, D | None, D | None]:
    order = Order.objects.get(leg="entry")
    return order.status, order.quantity, order.limit_price


def change() -> EntryChange:
    return EntryChange.objects.latest("id")


def ticket(broker: FakeBroker) -> Ticket:
    [one] = broker.tickets
    return one


def calls(broker: FakeBroker) -> list[str]:
    return [name for name, _ in broker.calls if name in ("change_order", "open_orders")]


def run_until_settled(rounds: int = 12) -> ChangeState:
    for _ in range(rounds):
        process_pending_actions()
        if not change().is_open:
            break
        factories.pass_time(6)
    return ChangeState(change().state)


# ---- done ---------------------------------------------------------------------------------------
def test_price_is_changed_at_the_broker(order: Order, broker: FakeBroker) -> None:
    request(order, limit_price="1.094")
    assert terms() == ("SUBMITTED", D(100), PRICE)  # not before the broker has it
    assert run_until_settled() is ChangeState.DONE
    assert terms() == ("SUBMITTED", D(100), NEW_PRICE)
    assert ticket(broker).request.limit_price == NEW_PRICE
    assert calls(broker) == ["change_order"]
    assert [code for code, _ in factories.log_codes(order.pk)][-2:] == [
        "CHANGE_REQUESTED",
        "ORDER_CHANGED",
    ]


def test_changed_order_whose_reply_was_lost_is_still_looked_up(
    alice: ExecutionConnection,
    feed: Feed,
    runtime: TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its first fill was in the lost reply; the answer to the change has only what that filled."""
    usual = broker.change_order

    async def change_and_fill(spec: ConnectionSpec, wanted: ChangeRequest) -> list[OrderReport]:
        return [*await usual(spec, wanted), broker.execute(ticket(broker), D(10))]

    monkeypatch.setattr(broker, "change_order", change_and_fill)
    factories.signal(feed, order_type="LIMIT", open_price=PRICE)
    [outgoing] = factories.claim_all()
    broker.execute(broker.receive(outgoing.request), D(40))
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    factories.apply(replace(broker.execute(ticket(broker), D(30)), event_id="streamed"))
    request(Order.objects.get(), limit_price="1.094")
    assert run_until_settled() is ChangeState.DONE
    assert Order.objects.get().filled_quantity == 40
    factories.pass_time(60)
    sweeps.query_unknown_orders(runtime.dispatcher)
    assert (Order.objects.get().filled_quantity, Order.objects.get().lookup_after) == (80, None)


def test_larger_quantity_counts_from_its_request_on(order: Order, broker: FakeBroker) -> None:
    request(order, quantity="150")
    assert terms()[1] == D(150)
    assert ticket(broker).request.quantity == D(100)
    assert run_until_settled() is ChangeState.DONE
    assert ticket(broker).request.quantity == D(150)
    changed = Order.objects.get()
    assert changed.risk == D("0.75")  # 150 x 0.005
    factories.apply(broker.execute(ticket(broker)))
    assert terms()[0] == "FILLED"
    assert ExecutionPosition.objects.get().quantity == D(150)


def test_change_that_could_not_leave_within_a_minute_is_refused(
    order: Order, broker: FakeBroker
) -> None:
    request(order, limit_price="1.094")
    factories.pass_time(61)
    assert run_until_settled(1) is ChangeState.REFUSED
    assert change().code == "CHANGE_TOO_OLD"
    assert calls(broker) == []
    assert terms() == ("SUBMITTED", D(100), PRICE)


def test_cancelled_order_keeps_the_larger_quantity_that_it_may_have_had(
    order: Order, broker: FakeBroker
) -> None:
    """A fill of it that is reported after the end is within it."""
    broker.changing = "silent"
    request(order, quantity="150")
    process_pending_actions()
    factories.apply(factories.report(order, ReportKind.CANCELLED))
    run_until_settled()
    assert not change().is_open
    assert terms()[:2] == ("CANCELLED", D(150))
    late = factories.fill_report(Order.objects.get(), D(140), "late")
    factories.apply(late)
    assert Order.objects.get().filled_quantity == D(140)


def test_smaller_quantity_counts_when_the_broker_has_it(order: Order, broker: FakeBroker) -> None:
    request(order, quantity="50")
    assert terms()[1] == D(100)
    assert run_until_settled() is ChangeState.DONE
    assert terms() == ("SUBMITTED", D(50), PRICE)
    assert Order.objects.get().risk == D("0.25")


def test_change_that_leaves_only_what_has_filled_meanwhile_fills_the_order(
    order: Order, broker: FakeBroker
) -> None:
    factories.apply(broker.execute(ticket(broker), D(40)))
    request(order, quantity="50")
    factories.apply(broker.execute(ticket(broker), D(10)))
    broker.changing = "silent"
    ticket(broker).filled = D(40)  # it took the change before the fill
    process_pending_actions()
    ticket(broker).filled, ticket(broker).status = D(50), "FILLED"
    assert run_until_settled() is ChangeState.DONE
    assert terms()[:2] == ("FILLED", D(50))
    assert len(factories.events("order.filled")) == 1


def test_quantity_counts_only_if_the_change_was_about_it(
    order: Order, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that lists what is left does not shrink a partly filled order."""
    factories.apply(broker.execute(ticket(broker), D(40)))
    usual = broker.open_orders

    async def remainders(spec: ConnectionSpec) -> list[BrokerOrder]:
        return [replace(one, quantity=one.quantity - one.filled) for one in await usual(spec)]

    monkeypatch.setattr(broker, "open_orders", remainders)
    broker.changing = "silent"
    request(order, limit_price="1.094")
    assert run_until_settled() is ChangeState.DONE
    assert terms() == ("PARTIALLY_FILLED", D(100), NEW_PRICE)


# ---- the answer is late, lost or a refusal ------------------------------------------------------
def test_lost_answer_is_read_and_not_sent_again(order: Order, broker: FakeBroker) -> None:
    broker.changing = "silent"
    request(order, limit_price="1.094")
    process_pending_actions()
    assert change().state == "UNKNOWN"
    assert run_until_settled() is ChangeState.DONE
    assert calls(broker) == ["change_order", "open_orders"]
    assert terms() == ("SUBMITTED", D(100), NEW_PRICE)
    assert len(broker.tickets) == 1


@pytest.mark.parametrize("ends", [False, True])
def test_order_whose_change_was_not_answered_is_looked_up(
    order: Order, runtime: TradingRuntime, broker: FakeBroker, ends: bool
) -> None:
    """The change made it marketable, and what it filled was in the lost answer."""
    broker.changing = "silent"
    request(order, limit_price="1.094")
    process_pending_actions()
    broker.execute(ticket(broker), D(10))
    if ends:
        factories.apply(replace(broker.end(ticket(broker), "EXPIRED"), event_id="streamed"))
    assert run_until_settled() is (ChangeState.REFUSED if ends else ChangeState.DONE)
    assert Order.objects.get().filled_quantity == 0
    sweeps.query_unknown_orders(runtime.dispatcher)
    assert (Order.objects.get().filled_quantity, Order.objects.get().lookup_after) == (10, None)


def test_lost_request_is_sent_again_after_it_cannot_arrive_any_more(
    order: Order, broker: FakeBroker
) -> None:
    broker.changing = "lost"
    request(order, limit_price="1.094")
    process_pending_actions()
    factories.pass_time(2)
    process_pending_actions()  # it may still arrive: only read
    assert calls(broker) == ["change_order", "open_orders"]
    broker.changing = "take"
    assert run_until_settled() is ChangeState.DONE
    assert calls(broker).count("change_order") == 2
    assert len(broker.tickets) == 1


def test_change_that_never_arrives_is_given_up(order: Order, broker: FakeBroker) -> None:
    broker.changing = "lost"
    request(order, quantity="150")
    assert run_until_settled(30) is ChangeState.REFUSED
    assert (change().code, terms()) == ("CHANGE_NOT_KEPT", ("SUBMITTED", D(100), PRICE))
    assert calls(broker).count("change_order") <= 3
    assert Order.objects.get().risk == D("0.5")


def test_refusal_leaves_the_order_as_it_was(order: Order, broker: FakeBroker) -> None:
    broker.changing = "refuse"
    request(order, quantity="150", limit_price="1.094")
    assert run_until_settled() is ChangeState.REFUSED
    assert (change().code, change().detail) == ("PRICE_INVALID", "not today")
    assert terms() == ("SUBMITTED", D(100), PRICE)


def test_change_that_could_not_leave_is_sent_later(order: Order, broker: FakeBroker) -> None:
    broker.changing = "not sent"
    request(order, limit_price="1.094")
    process_pending_actions()
    assert change().state == "REQUESTED"
    broker.changing = "take"
    assert run_until_settled() is ChangeState.DONE


def test_change_that_cannot_leave_for_a_minute_is_given_up(
    order: Order, broker: FakeBroker
) -> None:
    broker.changing = "not sent"
    request(order, quantity="150")
    assert run_until_settled(20) is ChangeState.REFUSED
    assert (change().code, terms()[1]) == ("CHANGE_TOO_OLD", D(100))


def test_process_that_dies_after_the_claim_changes_nothing_twice(
    order: Order, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, runtime: TradingRuntime
) -> None:
    request(order, limit_price="1.094")
    with monkeypatch.context() as dying:
        dying.setattr(runtime.dispatcher.background_calls, "start", lambda calls: None)
        process_pending_actions()
    assert change().state == "SENT"
    process_pending_actions()
    assert calls(broker) == []  # its claim lasts
    factories.pass_time(45)
    assert run_until_settled() is ChangeState.DONE
    assert calls(broker)[0] == "open_orders"  # read before it is sent


def test_change_that_arrives_after_it_was_given_up_is_taken_over(
    order: Order, broker: FakeBroker, alice: ExecutionConnection
) -> None:
    broker.changing = "lost"
    request(order, quantity="150")
    assert run_until_settled(30) is ChangeState.REFUSED
    ticket(broker).request = replace(ticket(broker).request, quantity=D(150))  # it arrives now
    factories.pass_time(60)
    reconcile([alice.pk])
    assert (change().state, terms()) == ("DONE", ("SUBMITTED", D(150), PRICE))
    assert Order.objects.get().risk == D("0.75")
    factories.apply(broker.execute(ticket(broker)))
    assert terms()[:2] == ("FILLED", D(150))


def give_up(order: Order, broker: FakeBroker, **wanted: str) -> EntryChange:
    """Request a change that never arrives, until it is given up."""
    broker.changing = "lost"
    request(order, **wanted)
    assert run_until_settled(30) is ChangeState.REFUSED
    broker.changing = "take"
    return change()


def arrives(broker: FakeBroker, **terms: D) -> None:
    ticket(broker).request = replace(ticket(broker).request, **terms)  # type: ignore[arg-type]


def test_earlier_change_that_arrives_after_a_later_one_is_shown(
    order: Order, broker: FakeBroker, alice: ExecutionConnection
) -> None:
    """The row has what the broker has, not what was wanted last."""
    earlier = give_up(order, broker, limit_price="1.094")
    request(order, limit_price="1.093", quantity="150")
    assert run_until_settled() is ChangeState.DONE
    later = change()
    arrives(broker, limit_price=NEW_PRICE)
    factories.pass_time(1)
    reconcile([alice.pk])
    assert terms() == ("SUBMITTED", D(150), NEW_PRICE)
    earlier.refresh_from_db()
    later.refresh_from_db()
    assert (earlier.state, later.state, later.code) == ("DONE", "DONE", "CHANGE_OVERTAKEN")
    assert "made an earlier change" in change_line(later)
    assert factories.log_codes(order.pk)[-1][0] == "CHANGE_OVERTAKEN"
    factories.pass_time(1)
    reconcile([alice.pk])  # nothing more
    assert factories.log_codes(order.pk)[-1][0] == "CHANGE_OVERTAKEN"
    assert len(factories.events("order.changed")) == 2


def test_earlier_change_that_arrives_before_a_later_one_has_no_effect(
    order: Order, broker: FakeBroker, alice: ExecutionConnection
) -> None:
    give_up(order, broker, limit_price="1.094")
    arrives(broker, limit_price=NEW_PRICE)
    request(order, limit_price="1.093")
    assert run_until_settled() is ChangeState.DONE
    factories.pass_time(1)
    reconcile([alice.pk])
    assert terms() == ("SUBMITTED", D(100), D("1.09300"))


def test_earlier_change_that_arrives_while_a_later_one_is_open_is_replaced(
    order: Order, broker: FakeBroker, alice: ExecutionConnection
) -> None:
    give_up(order, broker, limit_price="1.094")
    broker.changing = "lost"
    request(order, limit_price="1.093")
    process_pending_actions()
    arrives(broker, limit_price=NEW_PRICE)
    reconcile([alice.pk])
    assert terms() == ("SUBMITTED", D(100), PRICE)
    broker.changing = "take"
    assert run_until_settled() is ChangeState.DONE
    assert (ticket(broker).request.limit_price, terms()[2]) == (D("1.093"), D("1.09300"))


def test_late_answer_of_an_earlier_change_does_not_count_for_a_later_one(
    order: Order, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, runtime: TradingRuntime
) -> None:
    started: list[BackgroundCall] = []
    request(order, limit_price="1.094")
    with monkeypatch.context() as slow:
        slow.setattr(runtime.dispatcher.background_calls, "start", started.extend)
        process_pending_actions()
    factories.pass_time(45)
    arrives(broker, limit_price=NEW_PRICE)
    assert run_until_settled() is ChangeState.DONE
    request(order, limit_price="1.093")
    assert run_until_settled() is ChangeState.DONE
    answer = replace(
        factories.report(order, ReportKind.CHANGED), terms=OrderTerms(D(100), NEW_PRICE)
    )
    record_call_results([CallResult(started[0], [answer])])
    assert terms() == ("SUBMITTED", D(100), D("1.09300"))


def test_list_that_was_read_before_a_later_change_does_not_count(
    order: Order, broker: FakeBroker, alice: ExecutionConnection, runtime: TradingRuntime
) -> None:
    give_up(order, broker, limit_price="1.094")
    began = database_now()
    arrives(broker, limit_price=NEW_PRICE)
    listed = run_call(broker.open_orders(spec_for(alice)))
    request(order, limit_price="1.093")
    assert run_until_settled() is ChangeState.DONE
    take_over_late_changes(began, {alice.pk: listed})
    assert terms()[2] == D("1.09300")


# ---- it stays unknown ----------------------------------------------------------------------------
def test_change_whose_reads_keep_failing_is_alerted_once(order: Order, broker: FakeBroker) -> None:
    broker.changing = "silent"
    request(order, limit_price="1.094")
    process_pending_actions()
    broker.reads_fail = True
    for _ in range(2):
        factories.pass_time(80)
        process_pending_actions()
        stale_orders.resolve_stuck()
    assert factories.events("order.stuck") == []
    line = change_line(change())
    assert "under way since" in line
    assert "could not be read: BROKER_UNREACHABLE" in line
    factories.pass_time(21)
    for _ in range(2):
        stale_orders.resolve_stuck()
    assert factories.events("order.stuck") == [{"code": "CHANGE_UNKNOWN_TOO_LONG"}]
    broker.reads_fail = False
    factories.pass_time(61)
    assert run_until_settled() is ChangeState.DONE
    factories.force("UPDATE execution_executionlog SET at = at - interval '600 seconds'")
    request(order, limit_price="1.093")
    stale_orders.resolve_stuck()
    assert len(factories.events("order.stuck")) == 1
    process_pending_actions()
    broker.reads_fail = True
    factories.pass_time(181)
    for _ in range(2):
        stale_orders.resolve_stuck()
    assert len(factories.events("order.stuck")) == 2


# ---- events --------------------------------------------------------------------------------------
def test_owner_is_notified_of_what_the_broker_has_changed(
    order: Order, broker: FakeBroker, alice: ExecutionConnection
) -> None:
    assert alice.user is not None
    change_order(order.pk, WantedTerms(D(150), NEW_PRICE), by=alice.user)
    assert factories.events("order.changed") == []
    run_until_settled()
    assert factories.events("order.changed") == [
        {
            "quantity": "150",
            "old_quantity": "100",
            "limit_price": "1.094",
            "old_limit_price": "1.095",
            "by": alice.user.username,
        }
    ]


def test_refused_change_sends_no_event(order: Order, broker: FakeBroker) -> None:
    broker.changing = "refuse"
    request(order, limit_price="1.094")
    run_until_settled()
    assert factories.events("order.changed") == []


def test_change_that_only_the_fill_shows_sends_the_event(order: Order, broker: FakeBroker) -> None:
    broker.changing = "silent"
    request(order, quantity="150")
    process_pending_actions()
    factories.apply(broker.execute(ticket(broker)))
    assert run_until_settled() is ChangeState.DONE
    assert [one["quantity"] for one in factories.events("order.changed")] == ["150"]


# ---- the order ends meanwhile -------------------------------------------------------------------
def test_order_that_fills_before_its_quantity_is_raised_is_filled(
    order: Order, broker: FakeBroker
) -> None:
    request(order, quantity="150")
    factories.apply(broker.execute(ticket(broker)))
    assert terms()[:2] == ("PARTIALLY_FILLED", D(150))
    assert run_until_settled() is ChangeState.REFUSED
    assert (change().code, terms()[:2]) == ("ORDER_ENDED", ("FILLED", D(100)))
    assert ExecutionPosition.objects.get().quantity == D(100)


def test_order_that_fills_while_the_answer_is_lost_is_filled(
    order: Order, broker: FakeBroker
) -> None:
    broker.changing = "lost"
    request(order, quantity="150")
    process_pending_actions()
    factories.apply(broker.execute(ticket(broker)))
    assert run_until_settled() is ChangeState.REFUSED
    assert terms()[:2] == ("FILLED", D(100))


def test_cancelled_order_ends_its_change(order: Order, broker: FakeBroker) -> None:
    request(order, quantity="150")
    cancel_order(order.pk)
    assert run_until_settled() is ChangeState.REFUSED
    assert terms()[:2] == ("CANCELLED", D(100))
    assert calls(broker) == []


def test_cancellation_overtakes_a_lost_answer(order: Order, broker: FakeBroker) -> None:
    broker.changing = "silent"
    request(order, quantity="150")
    process_pending_actions()
    cancel_order(order.pk)
    assert run_until_settled() in (ChangeState.REFUSED, ChangeState.DONE)
    run_until_settled()
    assert terms()[0] == "CANCELLED"
    assert ticket(broker).status == "CANCELLED"


def test_late_result_of_an_earlier_call_does_not_count(
    order: Order, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, runtime: TradingRuntime
) -> None:
    started: list[BackgroundCall] = []
    request(order, limit_price="1.094")
    with monkeypatch.context() as slow:
        slow.setattr(runtime.dispatcher.background_calls, "start", started.extend)
        process_pending_actions()
        factories.pass_time(45)
        process_pending_actions()
    first, second = started
    record_call_results([CallResult(first, Rejected(Code.PRICE_INVALID))])
    assert change().state == "SENT"
    record_call_results([CallResult(second, [])])  # the broker lists no order
    assert change().state == "UNKNOWN"


# ---- what is refused at once --------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wanted", "code", "field"),
    [
        ({"quantity": "40"}, "CHANGE_BELOW_FILLED", "quantity"),
        ({"quantity": "55"}, "VOLUME_INVALID", "quantity"),
        ({"quantity": "1000010"}, "VOLUME_INVALID", "quantity"),
        ({"quantity": "0"}, "FIELD_INVALID", "quantity"),
        ({"limit_price": "-1"}, "FIELD_INVALID", "limit_price"),
        ({"stop_price": "1.2"}, "FIELD_INVALID", "stop_price"),
        ({"limit_price": "1.08"}, "STOP_AT_ENTRY", "limit_price"),
        ({"limit_price": "1.095", "quantity": "100"}, "NOTHING_TO_CHANGE", ""),
    ],
)
def test_values_that_the_order_cannot_have_are_refused(
    order: Order, broker: FakeBroker, wanted: dict[str, str], code: str, field: str
) -> None:
    factories.apply(broker.execute(ticket(broker), D(40)))
    with pytest.raises((InvalidInputError, ConflictError)) as refusal:
        request(order, **wanted)
    assert (refusal.value.code, getattr(refusal.value, "field", "")) == (code, field)
    assert not EntryChange.objects.exists()


def test_field_that_the_broker_cannot_change_is_refused(order: Order, broker: FakeBroker) -> None:
    broker.changes_orders = frozenset({OrderField.PRICE})
    with pytest.raises(ConflictError, match="quantity") as refusal:
        request(order, quantity="150")
    assert refusal.value.code == "CHANGE_UNSUPPORTED"
    request(order, limit_price="1.094")


def test_second_change_waits_for_the_first(order: Order) -> None:
    request(order, quantity="150")
    with pytest.raises(ConflictError) as refusal:
        request(order, quantity="160")
    assert refusal.value.code == "CHANGE_OPEN"
    run_until_settled()
    request(order, quantity="160")


def test_order_in_each_other_state_is_not_changed(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime, broker: FakeBroker
) -> None:
    factories.signal(feed, order_type="LIMIT", open_price=PRICE)
    [outgoing] = factories.claim_all()
    order = Order.objects.get()

    def refusal() -> str:
        with pytest.raises(ConflictError) as error:
            request(order, limit_price="1.094")
        return str(error.value.code)

    assert refusal() == "ORDER_IN_FLIGHT"
    factories.answer(outgoing, broker.rest(outgoing.request))
    cancel_order(order.pk)
    assert refusal() == "ORDER_BEING_CANCELLED"
    process_pending_actions()
    assert refusal() == "ORDER_ENDED"


# ---- limits -------------------------------------------------------------------------------------
def test_larger_order_is_checked_as_an_entry_and_counts_once(
    feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    factories.account(feed, preset_max_quantity=D(150), preset_max_open_positions=1)
    order = working(feed)
    request(order, quantity="150")
    run_until_settled()
    with pytest.raises(ConflictError) as refusal:
        request(order, quantity="160")
    assert (refusal.value.code, refusal.value.numbers["maximum"]) == ("MAX_QUANTITY", "150")


@pytest.mark.parametrize(("ask", "denied"), [("1.0999", False), ("1.09991", True)])
def test_larger_order_needs_the_spread_of_an_entry(
    feed: Feed, broker: FakeBroker, runtime: TradingRuntime, ask: str, denied: bool
) -> None:
    account = factories.account(feed, preset_max_spread=D(3))
    order = working(feed)
    factories.quote(account, "1.0996", ask)
    if not denied:
        request(order, quantity="150")
        return
    with pytest.raises(ConflictError) as refusal:
        request(order, quantity="150")
    assert (refusal.value.code, refusal.value.numbers["maximum"]) == ("SPREAD_LIMIT", "3")
    request(order, quantity="90")  # lowers the risk


def test_changed_quantity_leaves_no_rounding_debt(
    feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    account = factories.account(feed, preset_fixed_quantity=D(105))
    order = working(feed)
    assert [debt.quantity for debt in rounding_debts(account.pk)[feed.pk]] == [5]
    request(order, quantity="150")
    assert rounding_debts(account.pk) == {}
    assert run_until_settled() is ChangeState.DONE
    assert rounding_debts(account.pk) == {}


def test_smaller_order_passes_every_limit(
    feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    account = factories.account(feed)
    order = working(feed)
    TradingPreset.objects.filter(executionconnection=account).update(
        max_quantity=D(10), max_portfolio_risk_percent=D("0.000001")
    )
    request(order, quantity="90")
    assert run_until_settled() is ChangeState.DONE
    with pytest.raises(ConflictError) as refusal:
        request(order, limit_price="1.0955")  # further from its stop
    assert refusal.value.code == "MAX_QUANTITY"
    request(order, limit_price="1.0945")  # nearer


def test_report_of_a_change_is_idempotent(order: Order) -> None:
    request(order, quantity="50")
    run_until_settled()
    order.refresh_from_db()
    report = factories.report(order, ReportKind.CHANGED)
    factories.apply(report, report)
    assert terms()[:2] == ("SUBMITTED", D(50))
