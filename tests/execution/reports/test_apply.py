"""apply_reports writes each report once, from any source and in any order."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from brokers.base import NotSent, Rejected
from brokers.types import CloseCause, HeldLevels, OrderReport, ReportKind
from common.clocks import market_now
from common.db.sql import run
from common.reason_codes import Code
from connections.models import ExecutionConnection
from events.models import Channel, Delivery, Event, Notification
from events.routing import route_events
from execution.exits.orders import ExitRequest, open_exits
from execution.models import DriftItem, Fill, Order
from execution.reports.apply import Applied, apply_reports
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.kept_rows import kept_rows
from users.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("alice")]


def _entry(alice: ExecutionConnection) -> Order:
    """An order for 100 EUR/USD in flight, without reports."""
    factories.signal(Feed.objects.get())
    factories.claim_all()
    return Order.objects.get()


entry = kept_rows(_entry, on="_alice")


@pytest.fixture
def position(entry: Order) -> ExecutionPosition:
    """A position of 100 EUR/USD, opened by one fill."""
    factories.apply(factories.fill_report(entry, 100, "f1", broker_position_id="T1"))
    return ExecutionPosition.objects.get()


def exit_of(position: ExecutionPosition, fraction: str = "1") -> Order:
    """An exit in flight."""
    [order_id] = close_position(position.pk, fraction=D(fraction))
    factories.claim_all()
    return Order.objects.get(pk=order_id)


def broker_exit(
    position: ExecutionPosition, quantity: int, fill_id: str, ticket: str = "X1"
) -> OrderReport:
    entry = Order.objects.get(signal=position.signal, leg="entry")
    report = factories.fill_report(entry, quantity, fill_id, broker_order_id=ticket)
    return replace(report, close_cause=CloseCause.EXTERNAL)


def test_repeated_fill_is_counted_once(entry: Order) -> None:
    report = factories.fill_report(entry, 40, "f1")
    factories.apply(report, report)
    factories.apply(report)
    entry.refresh_from_db()
    assert (entry.status, entry.filled_quantity) == ("PARTIALLY_FILLED", 40)
    assert ExecutionPosition.objects.get().quantity == 40
    assert Fill.objects.count() == 1


def test_fill_is_stored_with_all_its_fields(entry: Order, alice: ExecutionConnection) -> None:
    noon = market_now()
    report = factories.fill_report(entry, 40, "f1", price="1.10010", time=noon)
    execution = replace(
        report.fills[0], commission=D("0.5"), commission_currency="USD", fee_in_base=D("0.1")
    )
    factories.apply(replace(report, fills=(execution,)))
    fill = Fill.objects.get()
    assert (fill.connection_id, fill.order_id, fill.broker_fill_id) == (alice.pk, entry.pk, "f1")
    assert (fill.side, fill.quantity, fill.price, fill.time) == ("BUY", 40, D("1.1001"), noon)
    assert (fill.commission, fill.commission_currency) == (D("0.5"), "USD")
    assert (fill.commission_rate, fill.commission_rate_at) == (1, None)
    assert (fill.fee_in_base, fill.inferred) == (D("0.1"), False)
    assert ExecutionPosition.objects.get().quantity == D("39.9")


def test_new_fill_after_a_correction_in_one_report_counts(entry: Order) -> None:
    first, second = (factories.fill_report(entry, 40, fill_id) for fill_id in ("f1", "f2"))
    factories.apply(first)
    corrected = replace(first.fills[0], quantity=D(30), revision=1)
    factories.apply(replace(first, fills=(corrected, *second.fills)))
    assert ExecutionPosition.objects.get().quantity == 70


def test_execution_replaces_a_cumulative_quantity_of_one_unit(entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 1, "", inferred=True))
    factories.apply(factories.fill_report(entry, 1, "f1"))
    assert [fill.broker_fill_id for fill in Fill.objects.all()] == ["f1"]
    assert ExecutionPosition.objects.get().quantity == 1


def test_fee_without_a_rate_is_listed_until_a_correction_removes_it(entry: Order) -> None:
    report = factories.fill_report(entry, 100, "f1")
    execution = replace(report.fills[0], commission=D("0.5"), commission_currency="XYZ")
    factories.apply(replace(report, fills=(execution,)))
    assert ExecutionPosition.objects.get().unconverted_fees == {"XYZ": "0.5"}
    corrected = replace(report.fills[0], revision=1)
    factories.apply(replace(report, fills=(corrected,)))
    assert ExecutionPosition.objects.get().unconverted_fees == {}


def test_applied_reports_are_counted_by_order_and_early_ones_returned(
    entry: Order, feed: Feed
) -> None:
    factories.signal(feed)
    factories.claim_all()
    other = Order.objects.latest("id")
    accepted = factories.report(other, ReportKind.ACCEPTED)
    filled = [factories.fill_report(entry, quantity, f"f{quantity}") for quantity in (40, 60)]
    early = replace(factories.fill_report(other, 100, "x1"), close_cause=CloseCause.STOP_LOSS)
    assert apply_reports([early, *filled, accepted]) == Applied(2, [early])
    grown = frozenset({str(entry.connection_id)})
    assert apply_reports([*filled, accepted]) == Applied(0, [], grown)
    position = ExecutionPosition.objects.get()
    gone = replace(
        factories.fill_report(entry, 100, "", inferred=True, broker_order_id=""),
        close_cause=CloseCause.EXTERNAL,
    )
    assert apply_reports([gone]) == Applied(1, [])
    position.refresh_from_db()
    assert position.quantity == 0


def test_inferred_close_before_the_rest_of_the_entry_is_deferred(entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 40, "f1"))
    gone = replace(
        factories.fill_report(entry, 100, "", inferred=True, broker_order_id=""),
        close_cause=CloseCause.EXTERNAL,
    )
    report = factories.fill_report(entry, 20, "f2")
    grown = frozenset({str(entry.connection_id)})
    assert apply_reports([gone, report]) == Applied(1, [gone], grown)


def test_report_of_an_order_by_another_connection_becomes_drift(entry: Order, feed: Feed) -> None:
    other = factories.account(feed)
    report = factories.report(entry, ReportKind.ACCEPTED)
    factories.apply(replace(report, connection_id=str(other.pk)))
    assert Order.objects.get().status == "SUBMITTING"
    item = DriftItem.objects.get()
    assert (item.kind, item.connection_id) == ("UNKNOWN_ORDER", other.pk)


def test_report_of_an_unknown_connection_is_counted_as_dropped(entry: Order) -> None:
    nowhere = "00000000-0000-4000-8000-000000000000"
    report = replace(factories.report(entry, ReportKind.ACCEPTED), connection_id=nowhere)
    factories.apply(report)
    assert not DriftItem.objects.exists()
    (dropped,) = factories.dropped_counts().values()
    assert dropped[0] == 1
    assert nowhere in dropped[1]


def test_levels_missing_in_the_first_fill_are_stored_from_a_later_one(entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 1, "f1", levels=None))
    run("UPDATE positions_executionposition SET sl_guardian = 'BROKER'")
    levels = HeldLevels(stop_loss=D("1.09"), take_profit=None, protected=D(100))
    factories.apply(factories.report(entry, ReportKind.ACCEPTED, levels=levels))
    assert ExecutionPosition.objects.get().levels_reported_at is None  # without an execution
    factories.apply(factories.fill_report(entry, 99, "f2", levels=levels))
    position = ExecutionPosition.objects.get()
    assert (position.broker_sl, position.broker_sl_quantity) == (D("1.09"), D(100))
    moved = replace(levels, stop_loss=D("1.08"))
    factories.apply(factories.fill_report(entry, 99, "f2", levels=moved))  # repeated
    assert ExecutionPosition.objects.get().broker_sl == D("1.09")


def test_position_id_reported_after_the_fill_is_stored_once(entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 1, "f1", broker_position_id=""))
    assert ExecutionPosition.objects.get().broker_position_id == ""
    for broker_position_id in ("", "77", "78"):
        factories.apply(
            factories.report(entry, ReportKind.ACCEPTED, broker_position_id=broker_position_id)
        )
    assert ExecutionPosition.objects.get().broker_position_id == "77"


def test_entry_and_exit_fills_of_one_position_count_in_one_flush(entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 60, "f1"))
    position = ExecutionPosition.objects.get()
    leaving = exit_of(position)
    factories.apply(
        factories.fill_report(leaving, 60, "x1"), factories.fill_report(entry, 40, "f2")
    )
    position.refresh_from_db()
    assert (position.quantity, position.opened_quantity, position.reserved) == (40, 100, 0)


def test_late_fill_of_an_ended_exit_keeps_reservations_of_others(
    position: ExecutionPosition,
) -> None:
    first = exit_of(position, "0.5")
    factories.apply(factories.report(first, ReportKind.CANCELLED))
    exit_of(position, "0.5")
    factories.apply(factories.fill_report(first, 20, "x1"))
    position.refresh_from_db()
    assert (position.quantity, position.reserved) == (80, 50)
    assert close_position(position.pk)
    assert Order.objects.get(leg="close-3").quantity == 30


def test_exit_revived_by_a_late_fill_reserves_its_remainder(
    position: ExecutionPosition,
) -> None:
    leaving = exit_of(position, "0.5")
    factories.apply(factories.report(leaving, ReportKind.REJECTED, code=Code.MARKET_CLOSED))
    factories.apply(factories.fill_report(leaving, 20, "x1"))
    position.refresh_from_db()
    leaving.refresh_from_db()
    assert (leaving.status, position.quantity, position.reserved) == ("PARTIALLY_FILLED", 80, 30)


@pytest.mark.parametrize("is_one_answer", [True, False])
@pytest.mark.parametrize("is_cancelling", [True, False])
def test_rejected_rest_of_a_partly_filled_exit_frees_its_reservation(
    position: ExecutionPosition, is_one_answer: bool, is_cancelling: bool
) -> None:
    """As MetaTrader lists it: executed in part, and its state is REJECTED."""
    leaving = exit_of(position)
    fill = factories.fill_report(leaving, 20, "x1")
    refusal = factories.report(leaving, ReportKind.REJECTED, detail="halted")
    if not is_one_answer:
        factories.apply(fill)
    if is_cancelling:
        factories.apply(factories.report(leaving, ReportKind.ACCEPTED))
        Order.objects.filter(pk=leaving.pk).update(status="CANCEL_REQUESTED")
    factories.apply(fill, refusal)
    factories.apply(fill, refusal)  # a look-up repeats both
    leaving.refresh_from_db()
    position.refresh_from_db()
    assert (leaving.status, leaving.reason) == ("CANCELLED", "REJECTED_BY_BROKER")
    assert (leaving.filled_quantity, leaving.done_at is None) == (20, False)
    assert (position.quantity, position.reserved) == (80, 0)
    assert exit_of(position).quantity == 80


def test_exit_revived_by_a_late_part_ends_when_its_rejection_is_repeated(
    position: ExecutionPosition,
) -> None:
    leaving = exit_of(position)
    refusal = factories.report(leaving, ReportKind.REJECTED, code=Code.MARKET_CLOSED)
    factories.apply(refusal)
    factories.apply(factories.fill_report(leaving, 20, "x1"))
    assert Order.objects.get(pk=leaving.pk).status == "PARTIALLY_FILLED"
    factories.apply(refusal)
    position.refresh_from_db()
    assert Order.objects.get(pk=leaving.pk).status == "CANCELLED"
    assert (position.quantity, position.reserved) == (80, 0)


def test_broker_exit_in_two_parts_keeps_our_exits_reservation(
    position: ExecutionPosition,
) -> None:
    exit_of(position, "0.5")
    factories.apply(broker_exit(position, 20, "x1"))
    factories.apply(broker_exit(position, 20, "x2"))
    position.refresh_from_db()
    assert (position.quantity, position.reserved) == (60, 50)
    external = Order.objects.get(leg="external-1")
    assert (external.status, external.quantity, external.filled_quantity) == ("FILLED", 40, 40)


def test_two_parts_of_a_broker_exit_in_one_flush_keep_the_reservation(
    position: ExecutionPosition,
) -> None:
    exit_of(position, "0.5")
    factories.apply(broker_exit(position, 20, "x1"), broker_exit(position, 20, "x2"))
    position.refresh_from_db()
    assert (position.quantity, position.reserved) == (60, 50)


def test_broker_exit_before_its_entrys_fill_waits(entry: Order) -> None:
    report = replace(
        factories.fill_report(entry, 100, "x1", broker_order_id="X1"),
        close_cause=CloseCause.STOP_LOSS,
    )
    assert factories.apply(report) == [report]
    factories.apply(factories.fill_report(entry, 100, "f1"))
    assert factories.apply(report) == []
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.close_reason) == (0, "sl")


def test_too_large_broker_exit_is_settled_when_its_entry_has_ended(
    entry: Order,
) -> None:
    """A fill may follow a cancel, but not for ever: until then it is repeated each second."""
    report = replace(
        factories.fill_report(entry, 100, "x1", broker_order_id="X1"),
        close_cause=CloseCause.STOP_LOSS,
    )
    factories.apply(
        factories.fill_report(entry, 60, "f1"), factories.report(entry, ReportKind.CANCELLED)
    )
    assert factories.apply(report) == [report]
    factories.pass_time(61)
    assert factories.apply(report) == []
    item = DriftItem.objects.get()
    assert (item.kind, item.evidence["broker_order_id"]) == ("EXIT_OVERFILLED", "X1")
    assert ExecutionPosition.objects.get().quantity == 0


def test_broker_exit_larger_than_known_fills_waits_for_the_next_fill(entry: Order) -> None:
    report = replace(
        factories.fill_report(entry, 100, "x1", broker_order_id="X1"),
        close_cause=CloseCause.STOP_LOSS,
    )
    factories.apply(factories.fill_report(entry, 60, "f1"))
    assert factories.apply(report) == [report]
    assert not DriftItem.objects.exists()
    factories.apply(factories.fill_report(entry, 40, "f2"))
    assert factories.apply(report) == []
    assert ExecutionPosition.objects.get().quantity == 0


def test_too_large_broker_exit_is_deferred_only_while_reports_may_wait(entry: Order) -> None:
    report = replace(
        factories.fill_report(entry, 100, "x1", broker_order_id="X1"),
        close_cause=CloseCause.STOP_LOSS,
    )
    factories.apply(factories.fill_report(entry, 60, "f1"))
    assert apply_reports([report]) == Applied(0, [report])
    with pytest.raises(IntegrityError), transaction.atomic():
        apply_reports([report], defer_overfills=False)


def test_repeated_broker_exit_changes_nothing(position: ExecutionPosition) -> None:
    report = broker_exit(position, 100, "x1")
    factories.apply(report)
    factories.apply(report, report)
    assert Order.objects.exits().count() == 1
    assert ExecutionPosition.objects.get().quantity == 0


def test_profit_does_not_depend_on_the_order_of_exit_and_entry_fill(
    entry: Order,
) -> None:
    noon = market_now()
    minute = timedelta(minutes=1)
    factories.apply(factories.fill_report(entry, 60, "f1", price="1.10000", time=noon))
    position = ExecutionPosition.objects.get()
    leaving = exit_of(position)
    late = noon + 2 * minute
    factories.apply(factories.fill_report(leaving, 60, "x1", price="1.12000", time=late))
    factories.apply(factories.fill_report(entry, 40, "f2", price="1.10500", time=noon + minute))
    position.refresh_from_db()
    assert position.entry_price == D("1.10200")
    assert position.realized_pnl == D("1.08")  # 60 at 1.12 against the average of 1.102


def test_position_opens_with_the_earliest_and_closes_with_the_latest_fill(entry: Order) -> None:
    noon = market_now()
    minute = timedelta(minutes=1)
    factories.apply(factories.fill_report(entry, 60, "f2", time=noon + minute))
    factories.apply(factories.fill_report(entry, 40, "f1", time=noon))
    position = ExecutionPosition.objects.get()
    assert position.opened_at == noon
    half, rest = exit_of(position, "0.5"), exit_of(position)
    factories.apply(factories.fill_report(half, 50, "x2", time=noon + 3 * minute))
    factories.apply(factories.fill_report(rest, 50, "x1", time=noon + 2 * minute))
    position.refresh_from_db()
    assert position.closed_at == noon + 3 * minute


def test_target_is_done_once_though_a_late_fill_follows_its_cancel(feed: Feed) -> None:
    factories.signal(feed, [("1.12", "0.5"), ("1.13", "0.3"), ("1.14", "0.2")])
    factories.claim_all()
    factories.apply(factories.fill_report(Order.objects.get(), 100, "f1"))
    position = ExecutionPosition.objects.get()
    open_exits([ExitRequest(position.pk, "tp-1", D("0.5"))])
    factories.claim_all()
    target = Order.objects.get(leg="tp-1")
    factories.apply(factories.fill_report(target, 20, "x1"))
    factories.apply(factories.report(target, ReportKind.CANCELLED))
    factories.apply(factories.fill_report(target, 10, "x2"))
    position.refresh_from_db()
    assert (position.tp_number, position.tp, position.quantity) == (2, D("1.13"), 70)


@pytest.mark.parametrize("quantity", [100, 40])
def test_fill_wins_over_an_exit_that_waits_for_a_resend(
    position: ExecutionPosition, quantity: int
) -> None:
    leaving = exit_of(position)
    factories.answer(factories.claimed_call(leaving), NotSent(Code.NOT_CONNECTED))
    leaving.refresh_from_db()
    assert leaving.status == "PENDING"
    factories.apply(factories.fill_report(leaving, quantity, "x1"))
    leaving.refresh_from_db()
    assert leaving.status == ("FILLED" if quantity == 100 else "PARTIALLY_FILLED")
    assert factories.claim_all() == []
    assert not DriftItem.objects.exists()


def test_acceptance_of_an_order_that_waits_for_a_resend_prevents_it(
    position: ExecutionPosition,
) -> None:
    leaving = exit_of(position)
    factories.answer(factories.claimed_call(leaving), NotSent(Code.NOT_CONNECTED))
    factories.apply(factories.report(leaving, ReportKind.ACCEPTED))
    leaving.refresh_from_db()
    assert leaving.status == "SUBMITTED"
    factories.pass_time(60)
    assert factories.claim_all() == []


def test_retryable_rejection_is_retried_once_with_the_next_attempt(entry: Order) -> None:
    first = entry.client_order_id
    assert first is not None
    factories.answer(factories.claimed_call(entry), Rejected(Code.REQUOTE))
    assert Order.objects.get().status == "PENDING"
    (outgoing,) = factories.claim_all()
    assert outgoing.request.client_order_id == first[:-1] + "1"
    factories.answer(outgoing, Rejected(Code.REQUOTE))
    assert (Order.objects.get().status, Order.objects.get().reason) == ("REJECTED", "REQUOTE")


def test_fill_of_an_earlier_attempt_counts(entry: Order) -> None:
    factories.answer(factories.claimed_call(entry), Rejected(Code.REQUOTE))
    factories.claim_all()
    factories.apply(factories.fill_report(entry, 100, "f1"))
    now = Order.objects.get()
    assert now.client_order_id != entry.client_order_id
    assert (now.status, now.filled_quantity) == ("FILLED", 100)
    assert not DriftItem.objects.exists()


def test_report_after_a_report_of_levels_is_applied(entry: Order) -> None:
    factories.apply(
        factories.report(entry, ReportKind.LEVELS), factories.report(entry, ReportKind.ACCEPTED)
    )
    assert Order.objects.get().status == "SUBMITTED"


def test_repeated_rejection_of_an_old_attempt_does_not_end_the_new_one(entry: Order) -> None:
    (report,) = factories.answer(factories.claimed_call(entry), Rejected(Code.REQUOTE))
    factories.claim_all()
    factories.apply(report)
    assert Order.objects.get().status == "SUBMITTING"


def test_a_fill_for_a_denied_order_becomes_drift_and_its_neighbour_is_written(
    entry: Order, feed: Feed
) -> None:
    factories.signal(feed)
    factories.claim_all()
    denied, other = Order.objects.order_by("id")
    with factories.without_triggers():
        run(f"UPDATE execution_order SET status = 'DENIED' WHERE id = {denied.pk}")
    factories.apply(
        factories.fill_report(denied, 100, "f1"), factories.fill_report(other, 100, "f2")
    )
    assert DriftItem.objects.get().kind == "REPORT_PROCESSING_FAILED"
    assert [o.status for o in Order.objects.order_by("id")] == ["DENIED", "FILLED"]


def test_report_of_an_unknown_order_becomes_drift(entry: Order) -> None:
    report = factories.report(entry, ReportKind.ACCEPTED, client_order_id="unknownorder00000")
    factories.apply(report, factories.report(entry, ReportKind.ACCEPTED))
    assert DriftItem.objects.get().kind == "UNKNOWN_ORDER"
    assert Order.objects.get().status == "SUBMITTED"


def test_one_quarantined_report_of_fifty_is_drift_and_49_are_written(feed: Feed) -> None:
    run("UPDATE connections_tradingpreset SET max_open_positions = 100")
    for _ in range(50):
        factories.signal(feed)
    factories.claim_all()
    orders = list(Order.objects.order_by("id"))
    report = [factories.fill_report(o, 100, f"f{o.pk}") for o in orders]
    report[17] = factories.fill_report(orders[17], 101, "too much")
    factories.apply(*report)
    assert Order.objects.filter(status="FILLED").count() == 49
    assert DriftItem.objects.get().kind == "REPORT_PROCESSING_FAILED"
    assert ExecutionPosition.objects.count() == 49


def test_report_that_cannot_be_quarantined_does_not_stop_the_others(entry: Order) -> None:
    unwritable = replace(
        factories.report(entry, ReportKind.ACCEPTED), connection_id="no uuid at all"
    )
    unwritable = replace(unwritable, client_order_id="x" * 18)
    factories.apply(unwritable, factories.report(entry, ReportKind.ACCEPTED))
    assert Order.objects.get().status == "SUBMITTED"


def owner(entry: Order) -> User:
    assert entry.connection.user is not None
    return entry.connection.user


def test_opened_position_is_reported_once_to_who_requests_it(entry: Order) -> None:
    channel = Channel.objects.create(
        user=owner(entry), name="bot", kinds=["position.opened"],
        confirmed_at=timezone.now(),
    )  # fmt: skip
    report = factories.fill_report(entry, 40, "f1")
    factories.apply(report)
    factories.apply(report, factories.fill_report(entry, 60, "f2", price="1.20000"))
    position = ExecutionPosition.objects.get()
    (opened,) = factories.events("position.opened")
    assert opened == {"position": position.pk, "quantity": "40", "price": "1.1"}
    route_events(100)
    sent = Delivery.objects.filter(channel=channel).values_list("event_id", flat=True)
    assert [*Event.objects.filter(pk__in=sent).values_list("kind", flat=True)] == [
        "position.opened"
    ]
    assert not Notification.objects.filter(kind="position.opened").exists()


@pytest.mark.parametrize("kinds", [None, [], ["order.filled"]])
def test_without_a_request_the_fill_alone_states_that_the_position_is_open(
    entry: Order, kinds: list[str] | None
) -> None:
    if kinds is not None:
        Channel.objects.create(
            user=owner(entry), name="bot", kinds=kinds, confirmed_at=timezone.now()
        )
    factories.apply(factories.fill_report(entry, 100, "f1"))
    route_events(100)
    assert factories.events("position.opened") == []
    assert "The position is open." in Notification.objects.get(kind="order.filled").body


def test_entry_that_ends_with_a_part_filled_states_its_open_position(entry: Order) -> None:
    fill = factories.fill_report(entry, 40, "f1")
    factories.apply(replace(fill, kind=ReportKind.CANCELLED))
    route_events(100)
    assert Order.objects.get().status == "CANCELLED"
    body = Notification.objects.get(kind="order.cancelled").body
    assert "The part that had filled is an open position." in body
