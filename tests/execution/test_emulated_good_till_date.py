"""GTD at a broker without GTD: it gets GTC, and the engine ends the order at its valid_until."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from analytics.orders.end_times import end_of
from analytics.orders.explanations import explain
from brokers.base import NotSent
from brokers.types import OrderRequest, TimeInForce
from common.clocks import market_now
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.changes.order_changes import change_order
from execution.models import ExecutionLog, Order
from execution.monitoring.pending_actions import process_pending_actions
from execution.recovery import sweeps
from execution.runtime.trading_runtime import TradingRuntime
from execution.submission.change_terms import WantedTerms
from execution.submission.outgoing import Outgoing
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
LIMIT: dict[str, Any] = {"order_type": "LIMIT", "open_price": D("1.095"), "time_in_force": "GTD"}


@pytest.fixture(autouse=True)
def account(
    alice: ExecutionConnection,
    runtime: TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> ExecutionConnection:
    """An account whose broker has no GTD."""
    usual = broker.capabilities
    takes = frozenset({TimeInForce.GTC, TimeInForce.IOC})
    monkeypatch.setattr(
        broker, "capabilities", lambda spec: replace(usual(spec), times_in_force=takes)
    )
    return alice


def opened(feed: Feed, until: datetime) -> Signal:
    return factories.signal(feed, valid_until=until, **LIMIT)


def send(behaviour: Callable[[OrderRequest], Any] | None = None) -> Outgoing:
    [outgoing] = factories.claim_all()
    factories.answer(outgoing, (behaviour or factories.fake_broker().rest)(outgoing.request))
    return outgoing


def order() -> Order:
    return Order.objects.select_related("signal").get(leg="entry")


def pass_end(passed: timedelta = HOUR + SECOND) -> None:
    factories.force("UPDATE signals_signal SET valid_until = valid_until - %s", (passed,))
    factories.force("UPDATE execution_order SET own_valid_until = own_valid_until - %s", (passed,))


def cancel_round() -> None:
    """Run the jobs that end an order, once; what waits for its next try is due."""
    sweeps.cancel_expired_working()
    Order.objects.exclude(pending_action="").update(due_at=market_now() - MINUTE)
    process_pending_actions()


def cancels(broker: FakeBroker) -> int:
    return sum(name == "cancel" for name, _ in broker.calls)


def test_broker_gets_gtc_and_the_engine_cancels_it_at_its_end(
    feed: Feed, broker: FakeBroker
) -> None:
    until = market_now() + HOUR
    opened(feed, until)
    sent = send()
    assert (sent.request.time_in_force, sent.request.expires_at) == (TimeInForce.GTC, None)
    entry = order()
    assert (entry.time_in_force, entry.expires_at, entry.has_emulated_end) == ("GTD", None, True)
    end = end_of(entry)
    assert end is not None
    assert (end.at, end.by_broker, end.is_emulated) == (until, False, True)
    cancel_round()
    assert (order().status, cancels(broker)) == ("SUBMITTED", 0)
    pass_end(HOUR)  # at once, without the grace that a broker's own expiry gets
    cancel_round()
    entry = order()
    assert (entry.status, entry.reason) == ("CANCELLED", "VALID_UNTIL_ENDED")
    assert end_of(entry) is None
    codes = [code for code, _ in factories.log_codes(entry.pk)]
    assert codes[-3:] == ["VALID_UNTIL_ENDED", "CANCEL_REQUESTED", "VALID_UNTIL_ENDED"]
    cancel_round()
    assert cancels(broker) == 1
    assert len(broker.tickets) == 1  # no second order


def test_explanation_states_until_when_it_works_and_that_it_is_emulated(feed: Feed) -> None:
    opened(feed, datetime(2099, 1, 2, 3, 4, 5, tzinfo=market_now().tzinfo))
    send()
    text = "until 2099-01-02 03:04:05 UTC, when Fillcast cancels it (good till date is emulated)"
    assert text in explain(order()).summary
    log = ExecutionLog.objects.filter(order_id=order().pk).values_list("detail", flat=True)
    assert [detail for detail in log if "GTD is emulated: sent as GTC" in detail] != []


@pytest.mark.parametrize("trouble", ["outage", "no answer", "refused"])
def test_order_is_cancelled_once_after_trouble_at_its_end(
    feed: Feed, broker: FakeBroker, trouble: str
) -> None:
    opened(feed, market_now() + HOUR)
    send()

    def unreachable() -> None:
        raise NotSent(Code.NOT_CONNECTED)

    if trouble == "outage":
        broker.on_call = unreachable
    broker.cancelling = {"no answer": "silent", "refused": "refuse"}.get(trouble, "take")
    pass_end()
    for _ in range(3):
        cancel_round()
    entry = order()
    assert entry.status in ("SUBMITTED", "CANCEL_REQUESTED")
    assert entry.pending_action == "EXPIRE"
    broker.on_call, broker.cancelling = (lambda: None), "take"
    cancel_round()
    entry = order()
    assert (entry.status, entry.reason) == ("CANCELLED", "VALID_UNTIL_ENDED")
    assert [ticket.status for ticket in broker.tickets] == ["CANCELLED"]


def test_fill_that_overtook_the_cancel_is_kept(feed: Feed, broker: FakeBroker) -> None:
    opened(feed, market_now() + HOUR)
    send()
    pass_end()
    sweeps.cancel_expired_working()
    report = broker.execute(broker.tickets[0])
    process_pending_actions()
    factories.apply(report)
    entry = order()
    assert (entry.status, entry.filled_quantity) == ("FILLED", entry.quantity)
    assert ExecutionPosition.objects.get().quantity == entry.quantity
    cancel_round()
    assert (order().status, order().pending_action) == ("FILLED", "")


def test_late_fill_after_the_confirmed_cancel_counts(feed: Feed, broker: FakeBroker) -> None:
    opened(feed, market_now() + HOUR)
    send()
    pass_end()
    cancel_round()
    assert order().status == "CANCELLED"
    broker.tickets[0].status = "WORKING"  # it had executed before the cancel, and reports it late
    factories.apply(broker.execute(broker.tickets[0]))
    entry = order()
    assert (entry.status, entry.reason) == ("FILLED", "LATE_FILL")
    assert ExecutionPosition.objects.get().quantity == entry.quantity


def test_part_that_filled_before_the_end_stays_open(feed: Feed, broker: FakeBroker) -> None:
    opened(feed, market_now() + HOUR)
    send()
    half = broker.tickets[0].left / 2
    factories.apply(broker.execute(broker.tickets[0], half))
    assert "the rest is working, until" in explain(order()).summary
    pass_end()
    cancel_round()
    entry = order()
    assert (entry.status, entry.reason, entry.filled_quantity) == (
        "CANCELLED", "VALID_UNTIL_ENDED", half,
    )  # fmt: skip
    assert ExecutionPosition.objects.get().quantity == half


def test_order_without_an_outcome_at_its_end_is_cancelled_once_it_is_found(
    feed: Feed, broker: FakeBroker
) -> None:
    opened(feed, market_now() + HOUR)
    [outgoing] = factories.claim_all()
    accepted = broker.rest(outgoing.request)
    pass_end()
    cancel_round()
    assert (order().status, cancels(broker)) == ("SUBMITTING", 0)
    factories.answer(outgoing, accepted)
    cancel_round()
    assert (order().status, order().reason) == ("CANCELLED", "VALID_UNTIL_ENDED")
    assert len(broker.tickets) == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (None, "VALID_UNTIL_ENDED"),
        (Code.OWNER_CANCELLED, "VALID_UNTIL_ENDED"),  # as it reports every cancel of ours
        (Code.TRADING_DISABLED, "TRADING_DISABLED"),  # its own cause
    ],
)
def test_brokers_own_cause_of_the_end_counts(
    feed: Feed, broker: FakeBroker, code: Code | None, reason: str
) -> None:
    opened(feed, market_now() + HOUR)
    send()
    pass_end()
    sweeps.cancel_expired_working()
    factories.apply(broker.end(broker.tickets[0], "CANCELLED", code))
    assert (order().status, order().reason) == ("CANCELLED", reason)


@pytest.mark.parametrize("by", ["signal", "order"])
def test_its_end_is_moved_both_ways(feed: Feed, broker: FakeBroker, by: str) -> None:
    now = market_now()
    signal = opened(feed, now + HOUR)
    send()

    def move(until: datetime) -> None:
        if by == "signal":
            usual: dict[str, Any] = {"sl": None, "direction": signal.direction, "refers_to": signal}
            factories.signal(feed, action="MODIFY", valid_until=until, **usual)
        else:
            change_order(order().pk, WantedTerms(valid_until=until))

    move(now + 5 * HOUR)  # no broker's expiry is in the way
    assert order().own_valid_until == now + 5 * HOUR
    pass_end(2 * HOUR)
    cancel_round()
    assert order().status == "SUBMITTED"
    move(market_now() + MINUTE)
    pass_end(MINUTE)
    cancel_round()
    assert (order().status, order().reason) == ("CANCELLED", "VALID_UNTIL_ENDED")


def test_end_moved_while_the_sweep_decides_counts(feed: Feed, broker: FakeBroker) -> None:
    """The sweep has found the order; before it locks it, a person prolongs it."""
    opened(feed, market_now() + HOUR)
    send()
    pass_end()
    later = market_now() + HOUR
    Order.objects.update(own_valid_until=later)
    statement = sweeps.CANCEL_EXPIRED_WORKING.replace(
        "coalesce(w.own_valid_until, s.valid_until)", "s.valid_until"
    )  # as if it had read the order before
    factories.force(statement, {"now": market_now()})
    assert order().pending_action == ""


def test_entry_that_waits_states_until_when(feed: Feed) -> None:
    opened(feed, datetime(2099, 1, 1, tzinfo=market_now().tzinfo))
    Order.objects.update(reason=Code.NOT_CONNECTED, waiting_since=market_now())
    summary = explain(order()).summary
    assert "waiting since" in summary
    assert "until 2099-01-01 00:00:00 UTC, when Fillcast ends it" in summary
