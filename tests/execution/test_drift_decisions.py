"""Deciding about differences: adopt, relink, close, ignore, and what a connection may by itself."""

import asyncio
from dataclasses import replace
from decimal import Decimal as D

import pytest

from brokers.messages import (
    CancelRequest,
    CloseCause,
    ConnectionSpec,
    OrderReport,
    ReportKind,
)
from common.errors import ConflictError, FillcastError, InvalidInputError, NotAllowedError
from common.sql import rows
from connections import lanes
from connections.models import ExecutionConnection
from execution import services
from execution.audit.counters import audit
from execution.calls import asking, runtime
from execution.calls.errands import Done, Errand
from execution.calls.sweeps import ask_brokers, settle_lookups, take_over
from execution.drift import decisions as drift_decisions
from execution.drift.adopting import Levels
from execution.drift.decisions import actions_of
from execution.drift.reconcile import CONNECTIONS, reconcile
from execution.exits import holdings
from execution.models import DriftItem, ExecutionLog, Fill, Order
from execution.reports.streams import drain_events
from positions.models import ExecutionPosition
from signals.feeds import create_feed
from signals.models import Feed, Signal
from tests.connections import make
from tests.execution import cast
from tests.execution.double import Double, Ticket
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)
TAGGED = "abcdefghijklmn0"


@pytest.fixture
def position(
    alice: ExecutionConnection, feed: Feed, wire: runtime.Runtime, broker: Double
) -> ExecutionPosition:
    """100 EUR/USD, ours and the broker's."""
    found = cast.filled(cast.signal(feed))
    cast.pass_time(1)
    return found


@pytest.fixture
def owner(alice: ExecutionConnection) -> User:
    found = alice.user
    assert found is not None
    return found


def stranger(broker: Double, cid: str = "by hand", **fields: object) -> Ticket:
    """Somebody else's position of 50 EUR/USD on the same account."""
    known = broker.tickets[0].request
    ticket = broker.receive(replace(known, client_order_id=cid, quantity=D(50), **fields))  # type: ignore[arg-type]
    broker.execute(ticket)
    return ticket


def found(kind: str) -> DriftItem:
    reconcile()
    return DriftItem.objects.get(kind=kind)


def tag(broker: Double) -> str:
    return broker.tickets[0].request.client_order_id[:3] + TAGGED


def send_exits(broker: Double) -> None:
    """Those that share a position at the broker wait for its word first."""
    for _ in range(2):
        for outgoing in cast.claim_all():
            cast.answer(outgoing, broker.fill_at_once(outgoing.request))
        holdings.look()
        cast.pass_time(1.1)


def settled(broker: Double) -> None:
    """After everything: both sides agree, nothing is open in the inbox, the audit is clean."""
    cast.pass_time(6)
    assert reconcile() == 0
    assert not DriftItem.objects.filter(state="OPEN").exists()
    report = audit()
    assert {name: n for name, n in report.counters.items() if n} == {}


# ---- adopting ----------------------------------------------------------------------------------
def test_a_position_opened_by_hand_becomes_a_trade_like_any_other(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    ticket = stranger(broker, stop_loss=D("1.08000"))
    item = found("UNKNOWN_POSITION")
    drift_decisions.adopt(item.pk, by=owner)
    adopted = ExecutionPosition.objects.get(broker_position_id=ticket.number)
    assert (adopted.quantity, adopted.side, adopted.entry_price) == (50, "BUY", D("1.1"))
    assert (adopted.sl, adopted.broker_sl, adopted.sl_guardian) == (D("1.08"), D("1.08"), "BROKER")
    signal = Signal.objects.get(pk=adopted.signal_id)
    assert (signal.door, signal.feed.is_public, signal.candidate_count) == ("DRIFT", False, 1)
    assert signal.feed.owner == owner
    assert Order.objects.filter(signal=signal).count() == 1  # no other account hears of it
    assert Fill.objects.get(order__signal=signal).inferred
    item.refresh_from_db()
    assert (item.state, item.decision, item.decided_by) == ("RESOLVED", "ADOPT", owner)
    assert ExecutionLog.objects.filter(code="DRIFT_DECIDED", order_id=None).count() == 1
    settled(broker)
    services.close_position(adopted.pk, by=owner)
    send_exits(broker)
    adopted.refresh_from_db()
    assert adopted.quantity == 0
    assert [t.held for t in broker.tickets[:2]] == [100, 0]
    settled(broker)


def test_adopted_trades_never_go_to_a_feed_of_somebody_elses(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    """Anybody may name a feed as he likes; its owner reads its signals and closes them."""
    thief = make.user()
    theirs = create_feed(owner=thief, name="Adopted trades", slug=f"adopted-{owner.pk}")
    stranger(broker)
    drift_decisions.adopt(found("UNKNOWN_POSITION").pk, by=owner)
    assert Signal.objects.get(door="DRIFT").feed.owner == owner
    assert not Signal.objects.filter(feed=theirs).exists()
    stranger(broker)
    reconcile()
    drift_decisions.adopt(DriftItem.objects.get(state="OPEN").pk, by=owner)
    assert Signal.objects.filter(door="DRIFT").values("feed").distinct().count() == 1


def test_levels_can_be_given_to_what_is_adopted(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    stranger(broker, stop_loss=None)
    item = found("UNKNOWN_POSITION")
    for wrong in (Levels(stop_loss=D("1.2")), Levels(take_profit=D("1.0"))):
        with pytest.raises(InvalidInputError):
            drift_decisions.adopt(item.pk, by=owner, levels=wrong)
    assert Signal.objects.count() == 1  # nothing of a refused one was kept
    drift_decisions.adopt(item.pk, by=owner, levels=Levels(stop_loss=D("1.095")))
    adopted = ExecutionPosition.objects.latest("id")
    assert (adopted.sl, adopted.sl_guardian, adopted.broker_sl) == (D("1.095"), "ENGINE", None)


def test_what_its_owner_closes_there_after_the_adoption_is_heard(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    ticket = stranger(broker, cid="")
    drift_decisions.adopt(found("UNKNOWN_POSITION").pk, by=owner)
    cast.pass_time(1)
    broker.exit_by_itself(ticket, CloseCause.STOP_LOSS, D(50))
    reconcile()
    adopted = ExecutionPosition.objects.get(broker_position_id=ticket.number)
    assert (adopted.quantity, adopted.close_reason) == (0, "sl")
    settled(broker)


def test_an_orphan_with_our_tag_is_adopted_with_its_own_executions(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    ticket = stranger(broker, cid=tag(broker))
    broker.exit_by_itself(ticket, CloseCause.EXTERNAL, D(20))
    item = found("UNKNOWN_POSITION")
    assert (item.evidence["entered"], item.evidence["theirs"]["quantity"]) == ("50", "30")
    drift_decisions.adopt(item.pk, by=owner)
    ask_brokers(runtime.present().wire)
    reconcile()
    adopted = ExecutionPosition.objects.get(broker_position_id=ticket.number)
    assert (adopted.opened_quantity, adopted.quantity) == (D(50), D(30))
    assert not Fill.objects.filter(order__signal=adopted.signal, inferred=True).exists()
    settled(broker)


def test_an_orphan_that_rests_is_adopted_as_an_order(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    known = broker.tickets[0].request
    ticket = broker.receive(
        replace(known, client_order_id=tag(broker), order_type="LIMIT", limit_price=D("1.09"))  # type: ignore[arg-type]
    )
    drift_decisions.adopt(found("UNKNOWN_ORDER").pk, by=owner)
    ask_brokers(runtime.present().wire)
    order = Order.objects.get(client_order_id=tag(broker))
    assert (order.status, order.limit_price, order.broker_order_id) == (
        "SUBMITTED", D("1.09"), ticket.number,
    )  # fmt: skip
    settled(broker)


# ---- closing -----------------------------------------------------------------------------------
def test_an_unknown_position_that_is_not_wanted_is_closed_there_once(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    stranger(broker)
    item = found("UNKNOWN_POSITION")
    decided = drift_decisions.close(item.pk, by=owner)
    assert len(decided.order_ids) == 1
    with pytest.raises(ConflictError):
        drift_decisions.close(item.pk, by=owner)
    send_exits(broker)
    assert [t.held for t in broker.tickets[:2]] == [100, 0]
    position.refresh_from_db()
    assert position.quantity == 100
    settled(broker)


def test_an_orphan_that_rests_is_cancelled(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    known = broker.tickets[0].request
    ticket = broker.receive(replace(known, client_order_id=tag(broker)))
    assert drift_decisions.close(found("UNKNOWN_ORDER").pk, by=owner).wishes
    ask_brokers(runtime.present().wire)
    cast.pass_time(2)
    services.grant_wishes()
    settled(broker)
    assert (ticket.status, Order.objects.get(client_order_id=tag(broker)).status) == (
        "CANCELLED", "CANCELLED",
    )  # fmt: skip


def test_ours_is_closed_by_a_word_where_the_broker_has_none(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    broker.fills_horizon = None
    broker.exit_by_itself(broker.tickets[0], CloseCause.EXTERNAL, D(100))
    item = found("POSITION_MISSING")
    drift_decisions.close(item.pk, by=owner)
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "external_close")
    settled(broker)


def test_ours_is_not_closed_by_a_word_while_an_exit_is_under_way(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    broker.fills_horizon = None
    broker.exit_by_itself(broker.tickets[0], CloseCause.EXTERNAL, D(100))
    item = found("POSITION_MISSING")
    cast.close_signal(position.signal)
    cast.claim_all()
    with pytest.raises(ConflictError):
        drift_decisions.close(item.pk, by=owner)


def test_an_order_that_the_broker_lacks_is_ended_by_a_word(
    alice: ExecutionConnection, feed: Feed, wire: runtime.Runtime, broker: Double, owner: User
) -> None:
    cast.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = cast.claim_all()
    cast.answer(outgoing, broker.rest(outgoing.request))
    broker.tickets.clear()
    drift_decisions.close(found("ORDER_MISSING").pk, by=owner)
    order = Order.objects.get()
    assert (order.status, order.reason) == ("CANCELLED", "DRIFT_DECIDED")


def test_what_rests_though_it_has_ended_here_is_cancelled_by_the_next_comparison(
    alice: ExecutionConnection, feed: Feed, wire: runtime.Runtime, broker: Double, owner: User
) -> None:
    cast.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = cast.claim_all()
    cast.answer(outgoing, broker.rest(outgoing.request))
    cast.tell(cast.report(Order.objects.get(), ReportKind.CANCELLED))
    cast.pass_time(1)
    item = found("ORDER_RESTS")
    reconcile()
    assert broker.tickets[0].status == "WORKING"  # nobody has decided yet
    assert drift_decisions.close(item.pk, by=owner).comparison
    reconcile()
    item.refresh_from_db()
    assert (broker.tickets[0].status, item.state) == ("CANCELLED", "RESOLVED")


def test_a_cancel_keeps_its_lane_busy_and_has_its_time_from_when_it_has_its_place(
    alice: ExecutionConnection, wire: runtime.Runtime, broker: Double,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One place: the second waits for the first, and its time has not run out meanwhile. While one
    is under way its lane is not given back."""
    monkeypatch.setattr(asking, "AT_ONE_HOST", 1)
    sent: list[tuple[float, bool]] = []

    async def cancel(spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        assert request.send_by is not None
        sent.append((request.send_by, wire.wire.is_busy("")))
        await asyncio.sleep(0.05)  # how long this broker takes
        return []

    monkeypatch.setattr(broker, "cancel", cancel)
    which = {"ids": [alice.pk], "first": False, **lanes.in_held(), **lanes.resting()}
    (row,) = rows(CONNECTIONS, which)
    asking.cancel([(row, CancelRequest(f"c{n}", f"b{n}", "EURUSD")) for n in range(2)])
    (first, was_busy), (second, still_busy) = sent
    assert second >= first + 0.05
    assert (was_busy, still_busy, wire.wire.is_busy("")) == (True, True, False)


# ---- quantities and levels ---------------------------------------------------------------------
def test_a_smaller_quantity_is_taken_over(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    broker.fills_horizon = None
    broker.exit_by_itself(broker.tickets[0], CloseCause.EXTERNAL, D(30))
    item = found("QUANTITY_DIFFERS")
    assert list(actions_of(item)) == ["ADOPT", "IGNORE"]
    drift_decisions.adopt(item.pk, by=owner)
    position.refresh_from_db()
    assert (position.quantity, position.reserved) == (70, 0)
    settled(broker)


@pytest.mark.parametrize("decision", ["adopt", "close"])
def test_a_larger_quantity_becomes_a_trade_of_its_own_or_is_closed(
    position: ExecutionPosition, broker: Double, owner: User, decision: str
) -> None:
    broker.fills_horizon = None
    broker.tickets[0].held = D(160)
    item = found("QUANTITY_DIFFERS")
    getattr(drift_decisions, decision)(item.pk, by=owner)
    send_exits(broker)
    position.refresh_from_db()
    assert position.quantity == 100
    assert broker.tickets[0].held == (160 if decision == "adopt" else 100)
    settled(broker)


@pytest.fixture
def moved(feed: Feed, wire: runtime.Runtime, broker: Double) -> ExecutionPosition:
    """A position whose stop its owner has moved at the broker from 1.09 to 1.085."""
    cast.account(feed, settings={"native_stops": True})
    position = cast.filled(cast.signal(feed))
    cast.pass_time(1)
    broker.tickets[0].request = replace(broker.tickets[0].request, stop_loss=D("1.08500"))
    return position


def test_moved_levels_are_taken_over(moved: ExecutionPosition, broker: Double) -> None:
    drift_decisions.adopt(found("LEVELS_DIFFER").pk, by=None)
    moved.refresh_from_db()
    assert (moved.sl, moved.broker_sl, moved.sl_guardian) == (D("1.085"), D("1.085"), "BROKER")
    settled(broker)


def test_moved_levels_are_put_back(moved: ExecutionPosition, broker: Double) -> None:
    assert drift_decisions.relink(found("LEVELS_DIFFER").pk, by=None).wishes
    services.grant_wishes()
    moved.refresh_from_db()
    assert (moved.sl, moved.broker_sl) == (D("1.09"), D("1.09"))
    assert broker.tickets[0].request.stop_loss == D("1.09")
    settled(broker)


# ---- linking -----------------------------------------------------------------------------------
def test_an_unknown_position_is_really_that_of_an_entry_that_was_given_up(
    position: ExecutionPosition, broker: Double, feed: Feed, owner: User
) -> None:
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    Order.objects.filter(pk=outgoing.request.order_id).update(
        status="FAILED", reason="NEVER_ARRIVED", done_at="2020-01-01T00:00Z"
    )
    ticket = stranger(broker, cid="rewritten")
    item = found("UNKNOWN_POSITION")
    drift_decisions.relink(item.pk, by=owner, order_id=outgoing.request.order_id)
    order = Order.objects.get(pk=outgoing.request.order_id)
    assert (order.status, order.filled_quantity) == ("PARTIALLY_FILLED", 50)
    assert ExecutionPosition.objects.get(signal=order.signal).broker_position_id == ticket.number


def test_one_of_the_brokers_is_linked_with_one_of_ours(
    feed: Feed, alice: ExecutionConnection, wire: runtime.Runtime, broker: Double, owner: User
) -> None:
    for _ in range(2):
        cast.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    one, other = cast.claim_all()
    tag = one.request.client_order_id[:3]
    broker.rest(replace(one.request, client_order_id=tag + TAGGED))
    item = found("UNKNOWN_ORDER")
    drift_decisions.relink(item.pk, by=owner, order_id=one.request.order_id)
    DriftItem.objects.filter(pk=item.pk).update(state="OPEN")  # somebody decides once more
    with pytest.raises(ConflictError) as refused:
        drift_decisions.relink(item.pk, by=owner, order_id=other.request.order_id)
    assert refused.value.code == "STATE_CONFLICT"


def test_what_was_asked_about_the_id_before_proves_nothing_about_the_linked_one(
    feed: Feed,
    alice: ExecutionConnection,
    wire: runtime.Runtime,
    broker: Double,
    owner: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cast.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    (outgoing,) = cast.claim_all()
    cast.pass_time(61)
    take_over("another")
    ask_brokers(wire.wire)
    order = Order.objects.get(status="UNKNOWN", proofs=1)
    cast.pass_time(61)
    asked: list[Errand] = []
    with monkeypatch.context() as slowly:
        slowly.setattr(wire.wire.errands, "start", asked.extend)
        ask_brokers(wire.wire)
    tag = outgoing.request.client_order_id[:3]
    broker.rest(replace(outgoing.request, client_order_id=tag + TAGGED))
    drift_decisions.relink(found("UNKNOWN_ORDER").pk, by=owner, order_id=order.pk)
    settle_lookups([Done(one, None) for one in asked])
    order.refresh_from_db()
    assert (order.status, order.proofs) == ("UNKNOWN", 0)
    ask_brokers(wire.wire)
    order.refresh_from_db()
    assert (order.status, order.client_order_id) == ("SUBMITTED", tag + TAGGED)


@pytest.mark.parametrize("cid", ["rewritten", TAGGED])
def test_an_entry_of_a_restored_database_that_was_sent_after_all(
    position: ExecutionPosition, broker: Double, feed: Feed, owner: User, cid: str
) -> None:
    """The backup shows it unsent and never sized; a person sees that the broker has it."""
    forgotten = cast.signal(feed)
    Order.objects.filter(signal=forgotten).update(
        status="EXPIRED", reason="RESTORED_UNSENT", done_at="2020-01-01T00:00Z"
    )
    ticket = stranger(broker, cid=tag(broker) if cid == TAGGED else cid)
    item = found("UNKNOWN_POSITION")
    order = Order.objects.get(signal=forgotten)
    drift_decisions.relink(item.pk, by=owner, order_id=order.pk)
    ask_brokers(runtime.present().wire)
    order.refresh_from_db()
    assert (order.status, order.filled_quantity, order.symbol) == ("FILLED", 50, "EURUSD")
    opened = ExecutionPosition.objects.get(signal=forgotten)
    assert (opened.quantity, opened.broker_position_id) == (50, ticket.number)
    settled(broker)


def test_an_unknown_position_is_really_one_of_ours_under_another_number(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    broker.fills_horizon = None
    ticket = broker.tickets[0]
    item_of = ExecutionPosition.objects.filter(pk=position.pk)
    stranger(broker)
    unknown = found("UNKNOWN_POSITION")
    with pytest.raises(FillcastError) as refused:
        drift_decisions.relink(unknown.pk, by=owner, position_id=position.pk)
    assert refused.value.code == "DRIFT_TARGET_UNFIT"  # its own number is there as well
    broker.tickets.pop()
    DriftItem.objects.all().delete()
    ticket.number = "777"
    ticket.request = replace(ticket.request, client_order_id="rewritten")
    item = found("UNKNOWN_POSITION")
    drift_decisions.relink(item.pk, by=owner, position_id=position.pk)
    assert item_of.get().broker_position_id == "777"
    settled(broker)


@pytest.mark.parametrize("target", ["order_id", "position_id"])
def test_what_does_not_fit_is_refused(
    position: ExecutionPosition, broker: Double, owner: User, target: str
) -> None:
    stranger(broker)
    item = found("UNKNOWN_POSITION")
    with pytest.raises(FillcastError) as refused:
        drift_decisions.relink(item.pk, by=owner, **{target: 999_999})
    assert refused.value.code == "DRIFT_TARGET_UNFIT"
    with pytest.raises(InvalidInputError):
        drift_decisions.relink(item.pk, by=owner)


# ---- ignoring, rights --------------------------------------------------------------------------
def test_what_is_ignored_stays_ignored_until_it_changes(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    broker.fills_horizon = None
    broker.exit_by_itself(broker.tickets[0], CloseCause.EXTERNAL, D(30))
    item = found("QUANTITY_DIFFERS")
    with pytest.raises(InvalidInputError):
        drift_decisions.ignore(item.pk, by=owner, reason=" ")
    drift_decisions.ignore(item.pk, by=owner, reason="My own hedge.")
    reconcile()
    item.refresh_from_db()
    assert (item.state, item.decided_by) == ("IGNORED", owner)
    assert "My own hedge." in item.resolution
    assert len(cast.events("drift.found")) == 1
    broker.exit_by_itself(broker.tickets[0], CloseCause.EXTERNAL, D(10))
    reconcile()
    item.refresh_from_db()
    assert (item.state, item.decision, len(cast.events("drift.found"))) == ("OPEN", "", 2)
    broker.tickets[0].held = D(100)
    reconcile()
    item.refresh_from_db()
    assert item.state == "RESOLVED"


def test_only_the_owner_or_an_operator_decides(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    stranger(broker)
    item = found("UNKNOWN_POSITION")
    with pytest.raises(NotAllowedError):
        drift_decisions.adopt(item.pk, by=make.user())
    assert Signal.objects.count() == 1
    drift_decisions.adopt(item.pk, by=make.user(is_staff=True))


def test_an_action_that_does_not_fit_is_refused_with_its_code(moved: ExecutionPosition) -> None:
    with pytest.raises(FillcastError) as refused:
        drift_decisions.close(found("LEVELS_DIFFER").pk, by=None)
    assert refused.value.code == "DRIFT_ACTION_UNFIT"


# ---- by itself ---------------------------------------------------------------------------------
def allow() -> None:
    ExecutionConnection.objects.update(auto_correct=True)


def test_nothing_is_corrected_unless_it_is_allowed(
    position: ExecutionPosition, broker: Double
) -> None:
    broker.fills_horizon = None
    broker.exit_by_itself(broker.tickets[0], CloseCause.EXTERNAL, D(30))
    for _ in range(3):
        reconcile()
        cast.pass_time(6)
        DriftItem.objects.update(found_at="2020-01-01T00:00Z")
    position.refresh_from_db()
    assert position.quantity == 100


def test_a_quantity_that_shrank_is_corrected_when_it_was_seen_twice(
    position: ExecutionPosition, broker: Double
) -> None:
    allow()
    broker.fills_horizon = None
    broker.exit_by_itself(broker.tickets[0], CloseCause.EXTERNAL, D(30))
    reconcile()
    reconcile()
    position.refresh_from_db()
    assert position.quantity == 100  # seen again too soon
    DriftItem.objects.update(found_at="2020-01-01T00:00Z")
    reconcile()
    position.refresh_from_db()
    assert (position.quantity, DriftItem.objects.get().state) == (70, "RESOLVED")
    assert ExecutionLog.objects.filter(code="DRIFT_CORRECTED").count() == 1
    settled(broker)


@pytest.mark.parametrize("there", [D("1.085"), None])
def test_levels_are_corrected_and_none_is_lost(
    moved: ExecutionPosition, broker: Double, there: D | None
) -> None:
    """What its owner moved is theirs to move; what is gone is put back."""
    allow()
    broker.tickets[0].request = replace(broker.tickets[0].request, stop_loss=there)
    reconcile()
    DriftItem.objects.update(found_at="2020-01-01T00:00Z")
    reconcile()
    services.grant_wishes()
    moved.refresh_from_db()
    assert moved.sl == (there or D("1.09"))
    assert broker.tickets[0].request.stop_loss == moved.sl
    settled(broker)


def test_unknown_positions_and_more_than_ours_are_never_taken_by_itself(
    position: ExecutionPosition, broker: Double
) -> None:
    allow()
    broker.fills_horizon = None
    stranger(broker)
    broker.tickets[0].held = D(160)
    for _ in range(3):
        reconcile()
        DriftItem.objects.update(found_at="2020-01-01T00:00Z")
    assert ExecutionPosition.objects.get().quantity == 100
    assert DriftItem.objects.filter(state="OPEN").count() == 2


def test_a_stream_that_tells_of_an_adopted_ones_exit_closes_it(
    position: ExecutionPosition, broker: Double, owner: User
) -> None:
    ticket = stranger(broker, cid=tag(broker))
    drift_decisions.adopt(found("UNKNOWN_POSITION").pk, by=owner)
    ask_brokers(runtime.present().wire)
    broker.publish(broker.exit_by_itself(ticket, CloseCause.TAKE_PROFIT, D(50)))
    drain_events()
    adopted = ExecutionPosition.objects.get(broker_position_id=ticket.number)
    assert (adopted.quantity, adopted.close_reason) == (0, "tp")
    settled(broker)
