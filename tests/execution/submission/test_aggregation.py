"""Entries of one account, symbol and side, sent as one order: who waits, who is joined, and how."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from brokers.base import NotSent, OutcomeUnknown, Rejected
from brokers.types import Execution, ExitSafety, OrderReport, ReportKind
from common.clocks import machine_time, market_now
from common.db.sql import database_now, rows, run
from common.errors import ConflictError
from common.reason_codes import Code
from connections.models import MAX_AGGREGATION_MS, ExecutionConnection, HaltMode, Instrument
from execution import services
from execution.audit.counters import audit
from execution.base.kill_switch import Halts
from execution.dispatch.order_dispatcher import KillSwitchSnapshot
from execution.models import DriftItem, Fill, Order
from execution.monitoring import broker_positions
from execution.reconciliation.reconcile import reconcile
from execution.recovery import sweeps
from execution.runtime import trading_runtime
from execution.submission.claim import claim
from execution.submission.outgoing import Outgoing
from positions.models import ExecutionPosition
from signals.models import Feed, Origin
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.netting_model import NettingModel
from tests.until import until

pytestmark = pytest.mark.usefixtures("inline_commits")
MS = MAX_AGGREGATION_MS  # a shorter one could end while a busy machine publishes and claims
WINDOW = MS / 1000


@pytest.fixture
def netting(feed: Feed, broker: FakeBroker) -> ExecutionConnection:
    return factories.account(
        feed, snapshot_position_mode="NETTING", aggregation_ms=MS, preset_max_open_positions=50
    )


def orders() -> list[Order]:
    return list(Order.objects.filter(leg="entry").order_by("id"))


def seen() -> list[tuple[str, str]]:
    return [(order.status, order.reason) for order in orders()]


def joined(feed: Feed, *quantities: int) -> Outgoing:
    """Publish a signal for each quantity and return the one order that they are sent as."""
    for quantity in quantities:
        run("UPDATE connections_tradingpreset SET fixed_quantity = %s", (quantity,))
        row = factories.feed_signal(feed)
        Order.objects.filter(signal=row).update(requested_quantity=quantity)
    assert factories.claim_all() == []
    factories.pass_time(WINDOW)
    (outgoing,) = factories.claim_all()
    return outgoing


@pytest.fixture
def outgoing(netting: ExecutionConnection, feed: Feed) -> Outgoing:
    """Entries of 100 and of 200, which are sent as one."""
    return joined(feed, 100, 200)


# ---- waiting -------------------------------------------------------------------------------
def test_entry_by_hand_neither_waits_nor_joins_those_that_do(
    netting: ExecutionConnection, feed: Feed
) -> None:
    factories.feed_signal(feed)
    assert factories.claim_all() == []
    factories.signal(feed, origin=Origin.HAND)
    [outgoing] = factories.claim_all()
    of_feed, by_hand = orders()
    assert (outgoing.request.order_id, by_hand.aggregate_id) == (by_hand.pk, None)
    assert (of_feed.status, of_feed.reason) == ("PENDING", "AGGREGATION_AWAITED")


def test_entries_within_the_window_are_sent_as_one(
    netting: ExecutionConnection, feed: Feed
) -> None:
    outgoing = joined(feed, 100, 200, 50)
    first, second, third = orders()
    request = outgoing.request
    assert (request.quantity, request.order_id) == (D(350), first.pk)
    assert (request.client_order_id, request.fence) == (first.client_order_id, first.fence)
    assert [order.status for order in orders()] == ["SUBMITTING"] * 3
    assert {order.aggregate_id for order in orders()} == {first.pk}
    assert len({order.client_order_id for order in orders()}) == 3
    assert [order.quantity for order in orders()] == [D(100), D(200), D(50)]
    assert ("AGGREGATED", "SUBMITTING") in factories.log_codes(second.pk)
    (line,) = rows(
        "SELECT detail FROM execution_executionlog WHERE code = 'AGGREGATED' AND order_id = %s",
        (second.pk,),
    )
    assert line.detail == f"350 in one order with O-{first.pk}, O-{third.pk}"


def test_entry_waits_at_most_for_the_window(netting: ExecutionConnection, feed: Feed) -> None:
    began = machine_time()
    factories.feed_signal(feed)
    assert factories.claim_all() == []
    took = machine_time() - began
    order = Order.objects.get()
    assert (order.status, order.reason) == ("PENDING", "AGGREGATION_AWAITED")
    assert order.detail == "BUY EUR/USD, at most 5 s"
    assert order.due_at is not None
    assert WINDOW <= (order.due_at - order.created_at).total_seconds() <= WINDOW + took
    assert factories.claim_all() == []  # not due yet
    factories.pass_time(WINDOW)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.quantity == D(100)
    assert Order.objects.get().aggregate_id is None  # alone: an order like any other


def test_later_entry_waits_as_long_as_the_first(netting: ExecutionConnection, feed: Feed) -> None:
    """A wait is written a little after it was computed, in each of the two claims."""
    factories.feed_signal(feed)
    first_claim = duration_of(factories.claim_all)
    factories.pass_time(WINDOW / 2)
    factories.feed_signal(feed)
    second_claim = duration_of(factories.claim_all)
    first, second = orders()
    assert first.due_at is not None
    assert second.due_at is not None
    assert abs(second.due_at - first.due_at) <= first_claim + second_claim


def duration_of(act: Callable[[], object]) -> timedelta:
    """Do something; return how long it took by the database's clock."""
    before = database_now()
    act()
    return database_now() - before


def test_one_that_is_due_takes_along_those_that_wait(
    netting: ExecutionConnection, feed: Feed
) -> None:
    factories.feed_signal(feed)
    factories.feed_signal(feed)
    factories.claim_all()
    first, second = orders()
    factories.pass_time(WINDOW)
    (outgoing,) = claim([first.pk], worker_id=factories.OWNER).outgoing
    assert outgoing.request.quantity == D(200)
    assert {order.aggregate_id for order in orders()} == {first.pk}
    assert claim([second.pk], worker_id=factories.OWNER).outgoing == []


def test_new_entry_is_sent_with_one_whose_window_has_ended(
    netting: ExecutionConnection, feed: Feed
) -> None:
    factories.feed_signal(feed)
    factories.claim_all()
    factories.pass_time(WINDOW)
    factories.feed_signal(feed)
    (outgoing,) = claim([orders()[1].pk], worker_id=factories.OWNER).outgoing
    assert outgoing.request.quantity == D(200)
    assert outgoing.request.order_id == orders()[0].pk


def test_entry_that_has_waited_for_something_else_is_sent_at_once(
    netting: ExecutionConnection, feed: Feed
) -> None:
    """Or one whose decision grows too old in each window would never be sent."""
    factories.feed_signal(feed)
    factories.claim_all()
    factories.pass_time(WINDOW)
    Order.objects.update(reason="DECISION_AWAITED")
    (outgoing,) = factories.claim_all()
    assert outgoing.request.quantity == D(100)


@pytest.mark.parametrize("is_new", [False, True])
def test_entry_that_has_waited_for_something_else_takes_others_along(
    netting: ExecutionConnection, feed: Feed, is_new: bool
) -> None:
    """Those that are due with it, or wait: they would make a second order of the same kind."""
    factories.feed_signal(feed)
    factories.pass_time(5 * WINDOW)
    Order.objects.update(reason="AWAITING_PRICE")
    factories.feed_signal(feed)
    if not is_new:
        factories.pass_time(5 * WINDOW)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.quantity == D(200)
    assert {order.aggregate_id for order in orders()} == {orders()[0].pk}


def test_runtime_sends_what_has_waited_without_a_poll(
    trading: trading_runtime.TradingRuntime, netting: ExecutionConnection, feed: Feed,
    broker: FakeBroker,
) -> None:  # fmt: skip
    ExecutionConnection.objects.update(aggregation_ms=500)  # one that has ended changes nothing
    factories.feed_signal(feed)
    factories.feed_signal(feed)
    services.execute([order.pk for order in orders()])
    until(lambda: seen() == [("FILLED", "")] * 2, "not sent")
    assert [ticket.request.quantity for ticket in broker.tickets] == [D(200)]


# ---- who is not joined ---------------------------------------------------------------------
def test_without_a_window_each_is_sent_alone_at_once(feed: Feed) -> None:
    factories.account(feed, snapshot_position_mode="NETTING", preset_max_open_positions=50)
    factories.feed_signal(feed)
    factories.feed_signal(feed)
    assert len(factories.claim_all()) == 2
    assert {order.aggregate_id for order in orders()} == {None}


def test_without_a_window_no_statement_is_about_aggregates(feed: Feed, broker: FakeBroker) -> None:
    """They would cost every order something: neither in the claim nor for its reports."""
    factories.account(feed, snapshot_position_mode="NETTING", preset_max_open_positions=50)
    factories.feed_signal(feed)
    with CaptureQueriesContext(connection) as ran:
        (outgoing,) = factories.claim_all()
        factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    statements = [query["sql"] for query in ran.captured_queries]
    assert any("execution_order" in statement for statement in statements)
    about = ("AGGREGATION_AWAITED", "SET aggregate_id", "aggregate_id =", "ROLLBACK")
    assert [s for s in statements if any(word in s for word in about)] == []
    assert seen() == [("FILLED", "")]


def test_entries_of_a_hedging_account_are_sent_alone_at_once(feed: Feed) -> None:
    factories.account(feed, aggregation_ms=MS, preset_max_open_positions=50)
    factories.feed_signal(feed)
    factories.feed_signal(feed)
    assert len(factories.claim_all()) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"order_type": "LIMIT", "open_price": D("1.095")},
        {"execution_style": "TWAP", "duration_seconds": 60, "slice_count": 2},
    ],
    ids=["limit", "slices"],
)
def test_other_entries_are_sent_at_once(
    netting: ExecutionConnection, feed: Feed, fields: dict[str, Any]
) -> None:
    factories.feed_signal(feed, **fields)
    assert len(factories.claim_all()) == 1


def test_entries_with_different_terms_are_sent_apart(
    netting: ExecutionConnection, feed: Feed
) -> None:
    factories.feed_signal(feed)
    factories.feed_signal(feed, max_slippage_pips=D(3))
    factories.feed_signal(feed, max_slippage_pips=D(3))
    factories.claim_all()
    factories.pass_time(WINDOW)
    sent = sorted(factories.claim_all(), key=lambda outgoing: outgoing.request.order_id)
    assert [outgoing.request.quantity for outgoing in sent] == [D(100), D(200)]
    assert [o.request.worst_price for o in sent] == [None, D("1.1003")]


def test_sum_does_not_exceed_the_brokers_maximum(netting: ExecutionConnection, feed: Feed) -> None:
    run("UPDATE connections_instrument SET quantity_max = 250")
    for _ in range(3):
        factories.feed_signal(feed)
    factories.claim_all()
    factories.pass_time(WINDOW)
    sent = factories.claim_all()
    assert sorted(outgoing.request.quantity for outgoing in sent) == [D(100), D(200)]


@pytest.mark.parametrize(
    "minimum",
    [{"quantity_min": 100}, {"close_min": 90}, {"close_worth_min": 105}],
    ids=["of orders", "of exits, after fees", "of their value"],
)
def test_entries_that_cannot_be_divided_are_sent_apart(
    netting: ExecutionConnection, feed: Feed, minimum: dict[str, int]
) -> None:
    """150 of 200 would leave one with 50. With a larger one both can always be closed."""
    Instrument.objects.update(**minimum)
    for quantity in (100, 100, 300):
        run("UPDATE connections_tradingpreset SET fixed_quantity = %s", (quantity,))
        row = factories.feed_signal(feed)
        Order.objects.filter(signal=row).update(requested_quantity=quantity)
    factories.claim_all()
    factories.pass_time(WINDOW)
    sent = sorted(factories.claim_all(), key=lambda outgoing: outgoing.request.order_id)
    assert [outgoing.request.quantity for outgoing in sent] == [D(400), D(100)]


def test_accounts_are_never_joined_with_each_other(
    netting: ExecutionConnection, feed: Feed
) -> None:
    factories.account(feed, snapshot_position_mode="NETTING", aggregation_ms=MS)
    factories.feed_signal(feed)
    factories.claim_all()
    factories.pass_time(WINDOW)
    assert [outgoing.request.quantity for outgoing in factories.claim_all()] == [D(100)] * 2


def test_each_member_counts_as_an_entry_in_limits(feed: Feed) -> None:
    factories.account(
        feed, snapshot_position_mode="NETTING", aggregation_ms=MS, preset_max_open_positions=2
    )
    for _ in range(3):
        factories.feed_signal(feed)
    assert factories.claim_all() == []
    assert seen()[2] == ("DENIED", "MAX_OPEN_POSITIONS")  # at once: nothing would change that
    factories.pass_time(WINDOW)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.quantity == D(200)


def test_halted_feed_is_denied_and_the_others_are_sent(
    netting: ExecutionConnection, feed: Feed
) -> None:
    other = make.feed()
    make.subscription(netting, other)
    factories.feed_signal(feed)
    factories.feed_signal(other)
    factories.claim_all()
    make.kill_switch("REDUCING", scope="FEED", feed=other)
    factories.pass_time(WINDOW)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.quantity == D(100)
    assert seen()[1] == ("DENIED", "ENTRIES_HALTED")


def test_halt_of_any_members_feed_stops_the_order(netting: ExecutionConnection, feed: Feed) -> None:
    other = make.feed()
    make.subscription(netting, other)
    factories.feed_signal(feed)
    factories.feed_signal(other)
    factories.claim_all()
    factories.pass_time(WINDOW)
    (outgoing,) = factories.claim_all()
    assert {outgoing.feed_id, *outgoing.other_feeds} == {feed.pk, other.pk}
    snapshot = KillSwitchSnapshot(float("inf"))
    for halted, blocks in ((feed.pk, True), (other.pk, True), (0, False)):
        snapshot.update(Halts(feeds={halted: HaltMode.REDUCING.value}), 0.0)
        assert snapshot.blocks(outgoing) is blocks


def test_levels_of_members_are_guarded_by_the_engine(feed: Feed, broker: FakeBroker) -> None:
    broker.nets = None
    factories.account(
        feed, snapshot_position_mode="NETTING", aggregation_ms=MS, settings={"native_stops": True}
    )
    factories.feed_signal(feed, sl=D("1.09"))
    factories.feed_signal(feed, sl=D("1.08"))
    factories.claim_all()
    factories.pass_time(WINDOW)
    (outgoing,) = factories.claim_all()
    assert (outgoing.request.stop_loss, outgoing.request.take_profit) == (None, None)
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    positions = ExecutionPosition.objects.order_by("id")
    assert [(p.sl, p.sl_guardian) for p in positions] == [
        (D("1.09"), "ENGINE"), (D("1.08"), "ENGINE"),
    ]  # fmt: skip


# ---- what becomes of them --------------------------------------------------------------------
def test_fill_is_allotted_and_each_member_has_its_position(
    broker: FakeBroker, outgoing: Outgoing
) -> None:
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    assert seen() == [("FILLED", "")] * 2
    assert [order.filled_quantity for order in orders()] == [D(100), D(200)]
    assert [p.quantity for p in ExecutionPosition.objects.order_by("signal_id")] == [100, 200]
    ids = sorted(Fill.objects.values_list("broker_fill_id", flat=True))
    second = orders()[1]
    assert ids == [ids[0], f"{ids[0]}#{second.pk}"]
    assert {order.broker_order_id for order in orders()} == {broker.tickets[0].number}


def test_partial_fills_arrive_twice_and_are_counted_once(
    broker: FakeBroker, outgoing: Outgoing
) -> None:
    ticket = broker.receive(outgoing.request)
    reports: list[OrderReport] = []
    for quantity in (50, 10, 240):
        reports.append(broker.execute(ticket, D(quantity)))
        factories.apply(*reports)
        assert sum(order.filled_quantity for order in orders()) == ticket.filled
    factories.apply(*reversed(reports))
    assert [order.filled_quantity for order in orders()] == [D(100), D(200)]
    assert seen() == [("FILLED", "")] * 2


def test_member_without_a_share_is_accepted(
    netting: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    outgoing = joined(feed, 10, 1000)
    ticket = broker.receive(outgoing.request)
    factories.apply(broker.execute(ticket, D(10)))
    assert [order.status for order in orders()] == ["SUBMITTED", "PARTIALLY_FILLED"]
    factories.apply(broker.end(ticket, "CANCELLED"))
    assert [order.status for order in orders()] == ["CANCELLED", "CANCELLED"]
    assert [order.filled_quantity for order in orders()] == [D(0), D(10)]


def test_rejection_is_every_members(outgoing: Outgoing) -> None:
    factories.answer(outgoing, Rejected(Code.NO_MONEY))
    assert seen() == [("REJECTED", "NO_MONEY")] * 2


def test_order_that_was_not_sent_goes_on_as_single_ones(
    broker: FakeBroker, outgoing: Outgoing
) -> None:
    factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))
    assert seen() == [("PENDING", "NOT_CONNECTED")] * 2
    assert {order.aggregate_id for order in orders()} == {None}
    factories.pass_time(10)
    sent = factories.claim_all()
    assert sorted(one.request.quantity for one in sent) == [D(100), D(200)]
    for one in sent:
        factories.answer(one, broker.fill_at_once(one.request))
    assert [order.filled_quantity for order in orders()] == [D(100), D(200)]


def test_not_sent_counts_only_if_no_member_was_taken_over(
    broker: FakeBroker, outgoing: Outgoing
) -> None:
    factories.live_lease()
    Order.objects.filter(pk=orders()[1].pk).update(answer_by="2000-01-01T00:00Z")
    assert sweeps.mark_orphaned_unknown("another") == 1
    factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))
    assert [order.status for order in orders()] == ["UNKNOWN", "UNKNOWN"]
    assert {order.aggregate_id for order in orders()} == {orders()[0].pk}
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))  # it had been sent
    assert seen() == [("FILLED", "")] * 2


def test_late_decision_of_a_dead_process_is_ignored(outgoing: Outgoing) -> None:
    assert sweeps.mark_orphaned_unknown("another") == 2  # there is no lease
    factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))
    assert [order.status for order in orders()] == ["UNKNOWN", "UNKNOWN"]


# ---- unknown outcomes ------------------------------------------------------------------------
def look_up(runtime: trading_runtime.TradingRuntime) -> int:
    return sweeps.query_unknown_orders(runtime.dispatcher)


def test_lost_answer_is_looked_up_by_the_id_that_was_sent(
    runtime: trading_runtime.TradingRuntime, broker: FakeBroker, outgoing: Outgoing
) -> None:
    broker.execute(broker.receive(outgoing.request))
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    assert [order.status for order in orders()] == ["UNKNOWN", "UNKNOWN"]
    factories.pass_time(60)
    assert look_up(runtime) == 2
    asked = {name for call, name in broker.calls if call == "find_order"}
    assert asked == {outgoing.request.client_order_id}
    assert seen() == [("FILLED", "")] * 2
    assert [order.filled_quantity for order in orders()] == [D(100), D(200)]
    assert len(broker.tickets) == 1


def test_order_that_never_arrived_fails_for_every_member(
    runtime: trading_runtime.TradingRuntime, outgoing: Outgoing
) -> None:
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    for _ in range(2):
        factories.pass_time(120)
        look_up(runtime)
    assert seen() == [("FAILED", "NEVER_ARRIVED")] * 2


def test_retry_waits_for_the_others_and_then_is_sent_alone(
    runtime: trading_runtime.TradingRuntime, broker: FakeBroker, outgoing: Outgoing
) -> None:
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    first, second = orders()
    factories.force(
        "UPDATE execution_order SET status = 'FAILED', reason = 'NEVER_ARRIVED',"
        " done_at = clock_timestamp() WHERE id = %s", (second.pk,),
    )  # fmt: skip
    with pytest.raises(ConflictError) as refused:
        services.retry_order(second.pk)
    assert "not known yet" in refused.value.detail
    factories.force(
        "UPDATE execution_order SET status = 'FAILED', reason = 'NEVER_ARRIVED',"
        " done_at = clock_timestamp() WHERE id = %s", (first.pk,),
    )  # fmt: skip
    services.retry_order(first.pk)
    assert {order.aggregate_id for order in orders()} == {None}
    (again,) = factories.claim_all()
    assert again.request.quantity == D(100)
    assert again.request.client_order_id == (first.client_order_id or "")[:-1] + "1"
    factories.answer(again, broker.fill_at_once(again.request))
    assert [order.status for order in orders()] == ["FILLED", "FAILED"]


def test_retry_of_one_is_refused_if_the_others_were_executed(
    broker: FakeBroker, outgoing: Outgoing
) -> None:
    """What is delivered again about that order must not be taken for the retried one."""
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    first, second = orders()
    factories.force(
        "UPDATE execution_order SET status = 'FAILED', filled_quantity = 0 WHERE id = %s",
        (second.pk,),
    )
    with pytest.raises(ConflictError) as refused:
        services.retry_order(second.pk)
    assert "was executed" in refused.value.detail
    assert {order.aggregate_id for order in orders()} == {first.pk}


# ---- exits -----------------------------------------------------------------------------------
@pytest.mark.parametrize("safety", [ExitSafety.REDUCE_ONLY, ExitSafety.OCA])
def test_exits_are_each_members_own(
    runtime: trading_runtime.TradingRuntime, netting: ExecutionConnection, feed: Feed,
    broker: FakeBroker, safety: ExitSafety,
) -> None:  # fmt: skip
    broker.nets = NettingModel(safety, netting=True)
    outgoing = joined(feed, 100, 200)
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    for position in ExecutionPosition.objects.order_by("id"):
        services.close_position(position.pk)
    exits: list[Outgoing] = []
    for _ in range(4):  # each waits for a read of what the broker holds of both
        sent = factories.claim_all()
        for one in sent:
            factories.answer(one, broker.fill_at_once(one.request))
        exits += sent
        factories.pass_time(1.1)
        broker_positions.refresh()
    assert sorted(one.request.quantity for one in exits) == [D(100), D(200)]
    assert {one.request.closes for one in exits} == {outgoing.request.client_order_id}
    groups = {one.request.oca_group for one in exits}
    assert len(groups) == (2 if safety is ExitSafety.OCA else 1)  # one fills beside the other
    assert [p.quantity for p in ExecutionPosition.objects.all()] == [0, 0]
    assert (broker.nets.reversed, broker.nets.stolen, broker.nets.exposed) == ([], [], [])


def test_comparison_and_audit_find_one_order_of_several(
    runtime: trading_runtime.TradingRuntime, netting: ExecutionConnection, feed: Feed,
    broker: FakeBroker,
) -> None:  # fmt: skip
    broker.nets = NettingModel(ExitSafety.REDUCE_ONLY, netting=True)
    outgoing = joined(feed, 100, 200)
    ticket = broker.receive(outgoing.request)
    factories.apply(broker.execute(ticket, D(30)))
    factories.pass_time(100)
    reconcile([netting.pk])
    factories.apply(broker.execute(ticket))
    factories.pass_time(100)
    reconcile([netting.pk])
    assert factories.drift_items() == []
    assert seen() == [("FILLED", "")] * 2
    report = audit()
    assert {name: number for name, number in report.counters.items() if number} == {}


def test_comparison_expects_an_order_whose_first_member_is_complete(
    runtime: trading_runtime.TradingRuntime, netting: ExecutionConnection, feed: Feed,
    broker: FakeBroker,
) -> None:  # fmt: skip
    broker.nets = NettingModel(ExitSafety.REDUCE_ONLY, netting=True)
    outgoing = joined(feed, 10, 1000)
    ticket = broker.receive(outgoing.request)
    factories.apply(broker.execute(ticket, D(600)))
    assert [order.status for order in orders()] == ["FILLED", "PARTIALLY_FILLED"]
    factories.pass_time(100)
    reconcile([netting.pk])
    assert factories.drift_items() == []
    factories.apply(broker.end(ticket, "CANCELLED"))
    factories.pass_time(100)
    reconcile([netting.pk])
    assert factories.drift_items() == []
    assert [order.status for order in orders()] == ["FILLED", "CANCELLED"]


@pytest.mark.parametrize("is_listed", [True, False], ids=["still there", "gone"])
def test_comparison_finds_an_order_that_only_one_side_has(
    runtime: trading_runtime.TradingRuntime, netting: ExecutionConnection, feed: Feed,
    broker: FakeBroker, *, is_listed: bool,
) -> None:  # fmt: skip
    """Whichever of its members still works here."""
    broker.nets = NettingModel(ExitSafety.REDUCE_ONLY, netting=True)
    outgoing = joined(feed, 10, 1000)
    ticket = broker.receive(outgoing.request)
    report = broker.execute(ticket, D(600))
    factories.apply(report)
    if is_listed:  # we hold that it has ended
        factories.apply(replace(report, kind=ReportKind.CANCELLED, fills=()))
    else:
        broker.tickets.clear()
    factories.pass_time(100)
    reconcile([netting.pk])
    found = list(DriftItem.objects.values_list("kind", "order_id"))
    first, second = orders()
    expected = ("ORDER_STILL_WORKING", first.pk) if is_listed else ("ORDER_MISSING", second.pk)
    assert expected in found
    assert len([kind for kind, _ in found if kind.startswith("ORDER_")]) == 1


def test_missed_fill_is_found_by_a_comparison(
    runtime: trading_runtime.TradingRuntime, netting: ExecutionConnection, feed: Feed,
    broker: FakeBroker,
) -> None:  # fmt: skip
    broker.nets = NettingModel(ExitSafety.REDUCE_ONLY, netting=True)
    outgoing = joined(feed, 100, 200)
    ticket = broker.receive(outgoing.request)
    factories.apply(replace(broker.execute(ticket, D(30)), kind=ReportKind.FILLED))
    broker.execute(ticket)  # its report is lost
    factories.pass_time(100)
    reconcile([netting.pk])
    reconcile([netting.pk])
    assert [order.filled_quantity for order in orders()] == [D(100), D(200)]
    assert factories.drift_items() == []


def test_cancel_of_a_resting_member_cancels_the_order(
    runtime: trading_runtime.TradingRuntime, broker: FakeBroker, outgoing: Outgoing
) -> None:
    ticket = broker.receive(outgoing.request)
    factories.apply(broker.execute(ticket, D(30)))
    services.cancel_order(orders()[1].pk)
    services.process_pending_actions()
    assert ("cancel", outgoing.request.client_order_id) in broker.calls
    assert [order.status for order in orders()] == ["CANCELLED", "CANCELLED"]
    assert [order.filled_quantity for order in orders()] == [D(10), D(20)]


@pytest.mark.parametrize("revision", [0, 1])
@pytest.mark.parametrize("members", [1, 2])
def test_unknown_execution_of_nothing_takes_no_other_one_along(
    netting: ExecutionConnection, feed: Feed, members: int, revision: int
) -> None:
    """The broker has corrected it to 0 before it ever reported it."""
    outgoing = joined(feed, *[100] * members)
    nothing = Execution("x", D(0), D("1.1"), market_now(), revision=revision)
    real = Execution("y", D(100 * members), D("1.1"), market_now())
    request = outgoing.request
    for fills in ((nothing,), (nothing, real)):
        factories.apply(
            OrderReport(
                kind=ReportKind.FILLED, connection_id=request.connection_id,
                client_order_id=request.client_order_id, broker_order_id="b1", fills=fills,
            )
        )  # fmt: skip
    assert seen() == [("FILLED", "")] * members
    assert sum(fill.quantity for fill in Fill.objects.all()) == D(100 * members)
    assert factories.drift_items() == []


def test_execution_corrected_to_nothing_before_it_arrives_is_no_members(
    netting: ExecutionConnection, feed: Feed
) -> None:
    request = joined(feed, 100, 100).request

    def apply(quantity: int, revision: int = 0, name: str = "x") -> None:
        fill = Execution(name, D(quantity), D("1.1"), market_now(), revision=revision)
        factories.apply(
            OrderReport(
                kind=ReportKind.FILLED, connection_id=request.connection_id,
                client_order_id=request.client_order_id, broker_order_id="b1", fills=(fill,),
            )
        )  # fmt: skip

    apply(0, revision=1)
    apply(120)
    apply(0, revision=1)
    apply(120)
    assert not Fill.objects.exists()
    apply(200, name="y")
    assert [order.filled_quantity for order in orders()] == [D(100), D(100)]
    assert factories.drift_items() == []


def test_late_kind_of_report_about_levels_stays_the_first_members(
    broker: FakeBroker, outgoing: Outgoing
) -> None:
    factories.answer(outgoing, broker.fill_at_once(outgoing.request))
    first = orders()[0]
    factories.apply(factories.report(first, ReportKind.LEVELS))
    assert factories.drift_items() == []
