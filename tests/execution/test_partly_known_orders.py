"""An entry has ended, and the lost reply to it had executions that nothing else reports.

Until its look-up is answered, nothing counts it as settled.
"""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import OutcomeUnknown, ReadFailed
from brokers.types import CloseCause, ExitSafety
from common.clocks import market_now
from common.db.sql import run
from common.reason_codes import Code
from connections import services as connections
from connections.exposure import open_items
from connections.models import ExecutionConnection
from execution.cancels import cancel_orders
from execution.dispatch.report_writer import apply_with_bisection
from execution.models import DriftItem, Order
from execution.monitoring.pending_actions import process_pending_actions
from execution.reconciliation.reconcile import reconcile
from execution.recovery import sweeps
from execution.reports.apply import apply_reports
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import cancel_order, close_position
from execution.submission.claim import claim
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.netting_model import NettingModel
from tests.execution.submission.test_slices import TWAP, refresh

pytestmark = pytest.mark.usefixtures("inline_commits")


def look_up(trading: TradingRuntime, after: float = 60) -> None:
    factories.pass_time(after)
    sweeps.query_unknown_orders(trading.dispatcher)


def end_partly_known(broker: FakeBroker, executed: int = 40, streamed: int = 0) -> Order:
    """Send the entry that is due; its reply is lost, its end is reported."""
    (outgoing,) = factories.claim_all()
    ticket = broker.receive(outgoing.request)
    broker.execute(ticket, D(executed))
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    if streamed:
        factories.apply(replace(broker.execute(ticket, D(streamed)), event_id="s1"))
    factories.apply(replace(broker.end(ticket, "EXPIRED"), event_id="s2"))
    order = Order.objects.get(pk=outgoing.request.order_id)
    assert (order.status, order.filled_quantity) == ("EXPIRED", streamed)
    return order


def test_account_is_not_free_of_exposure(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    factories.signal(feed)
    end_partly_known(broker)
    (item,) = open_items(alice.pk)
    assert "looked up" in str(item)
    look_up(runtime)
    assert Order.objects.get().filled_quantity == 40


def test_look_up_of_an_account_that_cannot_be_read_is_given_up(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    """Beyond the broker's history no answer is certain: a comparison finds what is left there."""
    factories.signal(feed)
    order = end_partly_known(broker)
    broker.reads_fail = True
    look_up(runtime, 23 * 3600)
    assert open_items(alice.pk)
    look_up(runtime, 2 * 3600)
    assert not open_items(alice.pk)
    assert ("LOOKUP_WINDOW_EXCEEDED", "EXPIRED") in factories.log_codes(order.pk)
    assert sweeps.query_unknown_orders(runtime.dispatcher) == 0


@pytest.mark.django_db(transaction=True)
def test_look_up_is_kept_while_its_answer_is_only_in_memory(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    """Another session has locked the position; this process may die before it lets go."""
    factories.signal(feed)
    order = end_partly_known(broker, streamed=30)
    factories.pass_time(60)
    run("SET lock_timeout = '300ms'")
    with factories.locked_elsewhere("SELECT 1 FROM positions_executionposition FOR UPDATE"):
        sweeps.query_unknown_orders(runtime.dispatcher)
    order.refresh_from_db()
    assert order.filled_quantity == 30
    assert order.lookup_after is not None
    look_up(runtime)
    order = Order.objects.get()
    assert order.filled_quantity == 70
    assert order.lookup_after is None


@pytest.mark.parametrize("how", ["person", "halt before", "halt after"])
def test_what_the_look_up_finds_is_closed(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, runtime: TradingRuntime, how: str
) -> None:
    """The close was requested before the look-up was answered."""
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    ticket = broker.receive(outgoing.request)
    broker.execute(ticket, D(40))
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    if how == "person":
        assert cancel_orders([outgoing.request.order_id], then_close=True)
    elif how == "halt before":
        flatten()
    process_pending_actions()
    factories.apply(replace(broker.end(ticket, "EXPIRED"), event_id="s2"))
    if how == "halt after":
        flatten()
    process_pending_actions()
    look_up(runtime)
    assert ExecutionPosition.objects.get().quantity == 40
    factories.pass_time(30)
    process_pending_actions()
    leg = "hand-1" if how == "person" else "halt-1"
    assert [order.leg for order in Order.objects.exclude(leg="entry")] == [leg]
    process_pending_actions()
    assert Order.objects.get(leg="entry").pending_action == ""


def flatten() -> None:
    connections.set_kill_switch(
        scope="ALL", mode="REDUCING", reason="test", by=None, flatten=True, cancel_entries=True
    )


def test_limits_count_it(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, preset_max_open_positions=1)
    factories.signal(feed)
    end_partly_known(broker)
    other = factories.signal(feed)
    factories.fill_all()
    order = Order.objects.get(signal=other)
    assert (order.status, order.reason) == ("DENIED", "MAX_OPEN_POSITIONS")


def test_comparison_takes_its_fill_for_no_foreign_position(
    alice: ExecutionConnection,
    feed: Feed,
    broker: FakeBroker,
    runtime: TradingRuntime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its executions cannot be read now, its account's positions can."""

    async def unreadable(*_: object) -> list[object]:
        raise ReadFailed(Code.BROKER_UNREACHABLE)

    for read in ("fills_since", "find_order"):
        monkeypatch.setattr(broker, read, unreadable)
    factories.signal(feed)
    end_partly_known(broker)
    for _ in range(3):
        reconcile()
        factories.pass_time(120)
    assert factories.drift_items() == []


def test_next_slice_waits(feed: Feed, broker: FakeBroker, runtime: TradingRuntime) -> None:
    """Otherwise it would catch up what its sibling has bought, and more than planned is bought."""
    factories.account(
        feed, preset_fixed_quantity=D(90), snapshot_position_mode="NETTING",
        preset_max_signal_age_seconds=15,
    )  # fmt: skip
    factories.signal(feed, **TWAP)
    (first,) = factories.claim_all()
    run("UPDATE execution_order SET worst_price = 1.2 WHERE leg = 'entry'")
    ticket = broker.receive(first.request)
    broker.execute(ticket, D(20))
    factories.answer(first, OutcomeUnknown(Code.REPLY_LOST))
    factories.apply(replace(broker.execute(ticket, D(5)), event_id="s1"))
    factories.apply(replace(broker.end(ticket, "EXPIRED"), event_id="s2"))
    broker.reads_fail = True
    look_up(runtime, 20)
    refresh()
    factories.fill_all()
    second = Order.objects.get(leg="entry-2")
    assert (second.status, second.reason) == ("PENDING", "SLICE_UNKNOWN")
    broker.reads_fail = False
    look_up(runtime, 15)
    for _ in range(3):
        factories.pass_time(20)
        refresh()
        factories.fill_all()
    filled = {order.leg: order.filled_quantity for order in Order.objects.all()}
    assert filled == {"entry": 25, "entry-2": 0, "entry-3": 60}  # of 90, in steps of 10
    assert ExecutionPosition.objects.get().quantity == 85


def test_exit_by_hand_waits(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    """Its end is a minute old, so only the look-up may still report executions."""
    factories.signal(feed, order_type="LIMIT", open_price=D("1.095"))
    (outgoing,) = factories.claim_all()
    broker.execute(broker.receive(outgoing.request), D(40))
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    factories.apply(replace(broker.execute(broker.tickets[0], D(30)), event_id="s1"))
    cancel_order(Order.objects.get().pk)
    process_pending_actions()
    broker.reads_fail = True
    look_up(runtime, 90)
    assert (Order.objects.get().status, Order.objects.get().filled_quantity) == ("CANCELLED", 30)
    closed = broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(70))
    deferred = factories.apply(replace(closed, event_id="s2"))
    assert len(deferred) == 1
    broker.reads_fail = False
    look_up(runtime)
    factories.apply(*deferred)
    assert (ExecutionPosition.objects.get().quantity, factories.drift_items()) == (0, [])


def test_opposite_entry_is_denied_where_positions_net(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, snapshot_position_mode="NETTING")
    factories.signal(feed)
    end_partly_known(broker)
    sell = factories.signal(feed, direction="SELL", sl="1.11000")
    factories.fill_all()
    assert Order.objects.get(signal=sell).reason == Code.NETTING_OPPOSITE


@pytest.mark.parametrize("state", ["FILLED", "NOT_FILLED"])
def test_entry_that_follows_it_waits(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, runtime: TradingRuntime, state: str
) -> None:
    first = factories.signal(feed)
    end_partly_known(broker)
    following = factories.signal(feed, after_signal=first, after_state=state)

    def outcome() -> Any:
        factories.pass_time(60)
        refresh()
        factories.fill_all()
        order = Order.objects.get(signal=following)
        return order.status, order.reason

    assert outcome() == ("PENDING", "AWAITING_CONDITION")
    look_up(runtime)
    assert (
        outcome()
        == {
            "FILLED": ("FILLED", ""),
            "NOT_FILLED": ("CANCELLED", "CONDITION_FAILED"),
        }[state]
    )


@pytest.mark.parametrize("executed", [0, 40])
def test_reply_without_news_settles_it(
    feed: Feed, broker: FakeBroker, runtime: TradingRuntime, executed: int
) -> None:
    """The stream was quicker than the reply: all is known, and nothing has to be looked up."""
    factories.account(feed, preset_max_open_positions=1, snapshot_position_mode="NETTING")
    first = factories.signal(feed)
    (outgoing,) = factories.claim_all()
    ticket = broker.receive(outgoing.request)
    if executed:
        factories.apply(replace(broker.execute(ticket, D(executed)), event_id="s1"))
    factories.apply(replace(broker.end(ticket, "EXPIRED"), event_id="s2"))
    order = Order.objects.get(signal=first)
    assert (order.status, order.is_partly_known) == ("EXPIRED", True)
    factories.answer(outgoing, broker.all_of(ticket))
    order.refresh_from_db()
    assert (order.status, order.filled_quantity) == ("EXPIRED", executed)
    assert not order.is_partly_known
    if not executed:
        second = factories.signal(feed, direction="SELL", sl="1.11000")
        factories.fill_all()
        assert Order.objects.get(signal=second).status == "FILLED"


def test_one_answer_that_it_is_not_found_settles_nothing(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    """Its broker has reported its end, so it exists: the history lags behind."""
    factories.signal(feed)
    end_partly_known(broker)
    broker.history_lags = True
    look_up(runtime)
    assert Order.objects.get().is_partly_known
    broker.history_lags = False
    look_up(runtime)
    order = Order.objects.get()
    assert (order.status, order.filled_quantity, order.is_partly_known) == ("EXPIRED", 40, False)


def test_two_answers_that_it_is_not_found_settle_it(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    """Some brokers forget orders that ended without a fill: it does not count for ever."""
    factories.signal(feed)
    end_partly_known(broker, executed=0)
    broker.history_lags = True
    look_up(runtime)
    look_up(runtime, 1)
    assert Order.objects.get().is_partly_known  # too soon after the first
    look_up(runtime)
    assert not Order.objects.get().is_partly_known


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ({"preset_max_daily_volume": D(150)}, "DAILY_VOLUME"),
        ({"preset_same_trade_window_seconds": 300}, "SAME_TRADE"),
        ({"preset_max_currency_exposure_percent": D("1.5")}, "CURRENCY_EXPOSURE"),
    ],
)
def test_limits_of_what_was_sent_count_it(
    feed: Feed, broker: FakeBroker, limit: dict[str, Any], code: str
) -> None:
    factories.account_within_day(feed, **limit)
    factories.signal(feed)
    end_partly_known(broker)
    other = factories.signal(feed)
    factories.fill_all()
    order = Order.objects.get(signal=other)
    assert (order.status, order.reason) == ("DENIED", code)


def test_limit_of_a_signal_counts_it(feed: Feed, broker: FakeBroker) -> None:
    for _ in range(2):
        factories.account(feed)
    Feed.objects.filter(pk=feed.pk).update(max_signal_notional=150, max_signal_currency="USD")
    factories.signal(feed)
    (outgoing,) = claim([factories.pending()[0]], worker_id=factories.OWNER).outgoing
    ticket = broker.receive(outgoing.request)
    broker.execute(ticket, D(40))
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    factories.apply(replace(broker.end(ticket, "EXPIRED"), event_id="s2"))
    factories.fill_all()
    denied = Order.objects.exclude(pk=outgoing.request.order_id).get()
    assert (denied.status, denied.reason) == ("DENIED", "SIGNAL_NOTIONAL")


def test_exit_of_a_shared_position_waits_for_a_read(feed: Feed, broker: FakeBroker) -> None:
    """Its broker nets what the lost reply has filled: the exit could close that."""
    broker.nets = NettingModel(ExitSafety.REDUCE_ONLY, netting=True)
    factories.account(feed, snapshot_position_mode="NETTING")
    position = factories.filled(factories.signal(feed))
    factories.signal(feed)
    end_partly_known(broker)
    close_position(position.pk)
    assert factories.claim_all() == []
    assert Order.objects.get(leg="close-1").status == "PENDING"


# ---- an exit that the look-up explains ----------------------------------------------------------
def overfilled(broker: FakeBroker) -> Order:
    """Of an entry 30 are known, and 40 in the lost reply; its owner closes all 70, a minute ago."""
    order = end_partly_known(broker, streamed=30)
    closed = broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(70))
    event = replace(closed, event_id="s3")
    assert factories.apply(event) == [event]
    assert apply_with_bisection([event], defer_overfills=False).reports == []
    assert ExecutionPosition.objects.get().quantity == 0
    assert factories.drift_items() == [("EXIT_OVERFILLED", "OPEN")]
    return order


def test_look_up_explains_an_exit_that_was_cut(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    factories.signal(feed)
    overfilled(broker)
    look_up(runtime)
    position, exit_ = ExecutionPosition.objects.get(), factories.order(leg="external-1")
    assert (position.opened_quantity, position.quantity) == (70, 0)
    assert (exit_.status, exit_.quantity, exit_.filled_quantity) == ("FILLED", 70, 70)
    assert factories.drift_items() == [("EXIT_OVERFILLED", "RESOLVED")]
    look_up(runtime)
    assert factories.order(leg="external-1").filled_quantity == 70


def test_exit_that_was_cut_is_explained_in_parts(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    factories.signal(feed)
    entry = overfilled(broker)
    DriftItem.objects.update(state="IGNORED")
    before = market_now() - timedelta(seconds=10)
    factories.apply(replace(factories.fill_report(entry, 10, "late", time=before), event_id="s4"))
    position, exit_ = ExecutionPosition.objects.get(), factories.order(leg="external-1")
    assert (position.opened_quantity, position.quantity) == (40, 0)
    assert exit_.filled_quantity == 40
    item = DriftItem.objects.get()
    assert (item.state, item.evidence["differs"]) == ("IGNORED", "40 70")
    factories.apply(replace(factories.fill_report(entry, 50, "later", time=before), event_id="s5"))
    position.refresh_from_db()
    assert (position.opened_quantity, position.quantity) == (90, 20)
    assert factories.order(leg="external-1").filled_quantity == 70
    assert factories.drift_items() == [("EXIT_OVERFILLED", "RESOLVED")]


def test_fill_after_the_exit_does_not_explain_it(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    factories.signal(feed)
    entry = overfilled(broker)
    factories.apply(replace(factories.fill_report(entry, 10, "later"), event_id="s4"))
    assert ExecutionPosition.objects.get().quantity == 10
    assert factories.drift_items() == [("EXIT_OVERFILLED", "OPEN")]


def test_own_exit_that_was_cut_is_explained(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    """The broker's stop has taken 20 of 70, the exit of the known 30 was executed as a whole."""
    factories.signal(feed)
    end_partly_known(broker, streamed=30)
    close_position(ExecutionPosition.objects.get().pk)
    (leaving,) = factories.claim_all()
    stopped = broker.close_at_broker(broker.tickets[0], CloseCause.STOP_LOSS, D(20))
    factories.apply(replace(stopped, event_id="s3"))
    executed = replace(broker.execute(broker.receive(leaving.request)), event_id="s4")
    assert apply_with_bisection([executed], defer_overfills=False).reports == []
    exit_ = factories.order(leg="close-1")
    assert (exit_.status, exit_.filled_quantity) == ("CANCELLED", 10)
    look_up(runtime)
    exit_.refresh_from_db()
    assert (exit_.status, exit_.filled_quantity) == ("FILLED", 30)
    assert ExecutionPosition.objects.get().quantity == 20
    assert factories.drift_items() == [("EXIT_OVERFILLED", "RESOLVED")]


def test_worker_that_dies_before_the_exit_is_explained(
    alice: ExecutionConnection,
    feed: Feed,
    broker: FakeBroker,
    runtime: TradingRuntime,
) -> None:
    """The next look-up finds nothing new of the entry, and explains it."""
    factories.signal(feed)
    overfilled(broker)
    (found,) = broker.all_of(broker.tickets[0])[:1]
    apply_reports([replace(found, event_id="s4")])
    assert ExecutionPosition.objects.get().quantity == 40
    look_up(runtime)
    assert ExecutionPosition.objects.get().quantity == 0
    assert factories.drift_items() == [("EXIT_OVERFILLED", "RESOLVED")]


def test_close_that_is_inferred_waits_for_a_minute_only(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    """A correction has made the position smaller since the close was inferred."""
    factories.signal(feed)
    entry = end_partly_known(broker, streamed=30)
    gone = factories.fill_report(entry, 40, "", inferred=True, broker_order_id="")
    gone = replace(gone, close_cause=CloseCause.EXTERNAL, levels=None)
    assert apply_with_bisection([gone]).deferred == [gone]
    assert apply_with_bisection([gone], defer_overfills=False).reports == []
    assert ExecutionPosition.objects.get().quantity == 0
