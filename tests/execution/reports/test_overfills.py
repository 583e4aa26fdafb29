"""A broker reports an exit of more than we hold: only the open quantity is closed."""

import queue
from dataclasses import replace
from decimal import Decimal as D
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from brokers.types import CloseCause, Execution, OrderReport
from common.clocks import market_now
from connections.models import ExecutionConnection
from execution.dispatch import deferred_reports
from execution.dispatch.background_calls import BackgroundCall, CallResult
from execution.dispatch.report_writer import (
    OrderCallReports,
    ReportWriter,
    ResultItem,
    apply_or_defer,
    apply_with_bisection,
    retry_deferred,
)
from execution.models import Decision, DriftItem, Order
from execution.reconciliation import decisions, presentation
from execution.recovery.sweeps import apply_lookup_results
from execution.reports.explained_overfills import rest_of
from execution.reports.overfills import (
    CountedFill,
    PreviousOverfill,
    apply_capped,
    split_fills,
)
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.until import until

pytestmark = pytest.mark.usefixtures("inline_commits")


def stopped(entry: Order, quantity: int, fill_id: str = "s1") -> OrderReport:
    report = factories.fill_report(entry, quantity, fill_id, price="1.09000", broker_order_id="X1")
    return replace(report, close_cause=CloseCause.STOP_LOSS)


@pytest.fixture
def position(alice: ExecutionConnection, feed: Feed) -> ExecutionPosition:
    return factories.filled(factories.signal(feed))


@pytest.fixture
def leaving(position: ExecutionPosition) -> Order:
    """An exit of 100 at the broker, while the broker's stop has taken 60 of them."""
    close_position(position.pk)
    factories.claim_all()
    factories.apply(stopped(factories.order(leg="entry"), 60))
    position.refresh_from_db()
    assert position.quantity == 40
    return factories.order(leg="close-1")


def outcome(position: ExecutionPosition, exit_: Order) -> tuple[object, ...]:
    position.refresh_from_db()
    exit_.refresh_from_db()
    return position.quantity, exit_.filled_quantity, exit_.status, exit_.reason


CLOSED = (D(0), D(40), "CANCELLED", "EXIT_OVERFILLED")


def test_exit_whose_excess_a_fill_has_explained_meanwhile_is_applied_whole(
    position: ExecutionPosition, leaving: Order
) -> None:
    """A session stores the entry's fill between the failed write and the next attempt."""
    report = factories.fill_report(leaving, 100, "x1")
    Order.objects.filter(leg="entry").update(quantity=200)
    factories.apply(factories.fill_report(factories.order(leg="entry"), 60, "late"))
    assert apply_capped(report)
    assert outcome(position, leaving) == (D(0), D(100), "FILLED", "")
    assert factories.drift_items() == []


def test_overfill_closes_the_open_quantity_and_reports_the_excess(
    position: ExecutionPosition, leaving: Order
) -> None:
    report = factories.fill_report(leaving, 100, "x1")
    factories.apply(report)
    assert outcome(position, leaving) == CLOSED
    item = DriftItem.objects.get()
    assert (item.kind, item.key) == ("EXIT_OVERFILLED", leaving.client_order_id)
    assert (item.position_id, item.order_id) == (position.pk, leaving.pk)
    assert presentation.differing(item) == "closed 40 ≠ 100"
    assert f"EURUSD, P-{item.position_id}, O-{item.order_id}" in presentation.subject(item)
    assert decisions.actions_of(item) == (Decision.IGNORE,)
    assert presentation.guidance(item)
    factories.apply(report)  # repeated
    assert outcome(position, leaving) == CLOSED
    assert DriftItem.objects.count() == 1


def test_excess_fills_and_other_reports_are_written(
    position: ExecutionPosition, leaving: Order, feed: Feed
) -> None:
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    neighbour = factories.order(pk=outgoing.request.order_id)
    report = factories.fill_report(leaving, 30, "x1")
    more = [replace(report.fills[0], broker_fill_id=name, quantity=D(35)) for name in ("x2", "x3")]
    factories.apply(
        replace(report, fills=(*report.fills, *more)), factories.fill_report(neighbour, 100, "n1")
    )
    assert outcome(position, leaving) == CLOSED
    assert [str(fill.quantity.normalize()) for fill in leaving.fills.order_by("id")] == [
        "3E+1",
        "1E+1",
    ]
    neighbour.refresh_from_db()
    assert neighbour.status == "FILLED"
    assert DriftItem.objects.get().evidence["theirs"] == {"closed": "100"}


def beyond(exit_: Order, **quantities: int) -> OrderReport:
    """An exit's executions by id."""
    report = factories.fill_report(exit_, 1, "x")
    fills = [
        replace(report.fills[0], broker_fill_id=n, quantity=D(q)) for n, q in quantities.items()
    ]
    return replace(report, fills=tuple(fills))


@pytest.mark.parametrize(
    "again", [{"x1": 30, "x2": 35, "x3": 35}, {"x1": 30, "x2": 35}, {"x2": 35}, {"x3": 35}]
)
def test_repeated_parts_of_an_overfill_change_nothing(
    position: ExecutionPosition, leaving: Order, again: dict[str, int]
) -> None:
    factories.apply(beyond(leaving, x1=30, x2=35, x3=35))
    item = DriftItem.objects.get()
    assert item.evidence["differs"] == "40 100"
    decisions.ignore(item.pk, by=None, reason="It was mine.")
    before = DriftItem.objects.values("state", "evidence", "found_at").get()
    events_before = len(factories.events("drift.found"))
    factories.apply(beyond(leaving, **again))
    after = DriftItem.objects.values("state", "evidence", "found_at").get()
    assert (after, after["state"]) == (before, "IGNORED")
    assert len(factories.events("drift.found")) == events_before
    assert outcome(position, leaving) == CLOSED


def test_new_excess_adds_to_the_reported_one(position: ExecutionPosition, leaving: Order) -> None:
    factories.apply(beyond(leaving, x1=30, x2=35, x3=35))
    decisions.ignore(DriftItem.objects.get().pk, by=None, reason="It was mine.")
    factories.apply(beyond(leaving, x3=35, x4=20))
    item = DriftItem.objects.get()
    assert (item.state, item.evidence["differs"]) == ("OPEN", "40 120")
    names = [fill["broker_fill_id"] for fill in item.evidence["fills"]]
    assert names == ["x1", "x2", "x3", "x4"]


def test_cumulative_report_without_ids_is_capped_too(
    position: ExecutionPosition, leaving: Order
) -> None:
    report = factories.fill_report(leaving, 100, "", inferred=True)
    factories.apply(report)
    factories.apply(report, factories.fill_report(leaving, 100, "x1"))
    assert outcome(position, leaving) == CLOSED
    assert DriftItem.objects.get().kind == "EXIT_OVERFILLED"


def test_exit_of_a_closed_position_ends_unfilled(
    position: ExecutionPosition, leaving: Order
) -> None:
    factories.apply(stopped(factories.order(leg="entry"), 40, "s2"))
    factories.apply(factories.fill_report(leaving, 100, "x1"))
    assert outcome(position, leaving) == (0, 0, "CANCELLED", "EXIT_OVERFILLED")
    position.refresh_from_db()
    assert (position.close_reason, position.reserved) == ("sl", 0)


def test_broker_stop_closes_no_more_than_is_open(position: ExecutionPosition) -> None:
    entry = factories.order(leg="entry")
    report = stopped(entry, 120)
    assert factories.apply(report) == []
    factories.apply(report)
    position.refresh_from_db()
    exit_ = factories.order(leg="sl")
    assert (position.quantity, position.close_reason) == (0, "sl")
    assert (exit_.status, exit_.quantity, exit_.filled_quantity) == ("FILLED", 100, 100)
    item = DriftItem.objects.get()
    assert (item.kind, item.key) == ("EXIT_OVERFILLED", "X1")


def test_exit_in_parts_works_until_the_broker_has_executed_all(
    position: ExecutionPosition, leaving: Order
) -> None:
    factories.apply(factories.fill_report(leaving, 70, "x1"))
    assert outcome(position, leaving)[:3] == (0, 40, "PARTIALLY_FILLED")
    factories.apply(factories.fill_report(leaving, 100, "", inferred=True))
    assert outcome(position, leaving) == CLOSED


def fill(name: str, quantity: int, *, inferred: bool = False) -> Execution:
    return Execution(name, D(quantity), D(1), market_now(), inferred=inferred)


@pytest.mark.parametrize(
    ("filled", "inferred", "room", "fills", "kept", "reported", "counted"),
    [
        (0, 0, 40, [fill("a", 100)], [40], 100, 40),
        (0, 0, 40, [fill("a", 30), fill("b", 30)], [30, 10], 60, 40),
        (30, 0, 10, [fill("known", 30), fill("b", 30)], [30, 10], 60, 40),
        (0, 0, 40, [fill("", 100, inferred=True)], [40], 100, 40),
        (30, 30, 10, [fill("a", 100)], [40], 100, 40),  # it replaces what was inferred
        (40, 0, 0, [fill("a", 10)], [], 50, 40),
        (40, 0, 60, [fill("a", 10)], [10], 50, 50),
    ],
)
def test_executions_are_split_at_the_open_quantity(
    filled: int, inferred: int, room: int, fills: list[Execution], kept: list[int], reported: int,
    counted: int,
) -> None:  # fmt: skip
    so_far = SimpleNamespace(filled=D(filled), inferred=D(inferred), open_quantity=D(room))
    found = split_fills(fills, so_far, {"known": D(30)}, PreviousOverfill())
    assert [one.quantity for one in found.fills] == kept
    assert [found.reported, found.counted] == [reported, counted]


@pytest.mark.parametrize(
    ("filled", "room", "fills", "rest"),
    [
        (30, 40, [fill("cut", 70)], [("cut", 70, 3)]),
        (30, 15, [fill("cut", 70)], [("cut", 45, 3)]),
        (30, 50, [fill("cut", 70), fill("new", 20)], [("cut", 70, 3), ("new", 10, 0)]),
        (30, 0, [fill("cut", 70)], []),
        (30, -5, [fill("cut", 70), fill("", 90, inferred=True)], []),
        (30, 40, [fill("cut", 30)], []),
        (30, 40, [fill("", 90, inferred=True)], [("", 70, 0)]),
    ],
)
def test_rest_of_an_exit_is_what_was_cut_and_is_open(
    filled: int, room: int, fills: list[Execution], rest: list[tuple[str, int, int]]
) -> None:
    """A fill that was cut is replaced by a revision with the commission that is booked."""
    counted = {"cut": CountedFill("cut", D(30), 2, D(7), "EUR")}
    found = rest_of(fills, D(filled), D(room), counted)
    assert [(one.broker_fill_id, int(one.quantity), one.revision) for one in found] == rest
    assert all(one.commission == 7 for one in found if one.revision)


# ---- an exit that is reported before its entry's fills ------------------------------------------
@pytest.fixture
def half(alice: ExecutionConnection, feed: Feed) -> Order:
    """An exit of 40 at the broker; of the entry's 100, a fill of 40 is reported."""
    factories.signal(feed)
    factories.claim_all()
    entry = factories.order(leg="entry")
    factories.apply(factories.fill_report(entry, 40, "e1"))
    close_position(ExecutionPosition.objects.get().pk)
    factories.claim_all()
    factories.apply(stopped(entry, 20))
    return factories.order(leg="close-1")


@pytest.mark.django_db(transaction=True)
def test_exit_waits_in_the_report_writer_for_its_entrys_fills(half: Order) -> None:
    results: queue.SimpleQueue[ResultItem] = queue.SimpleQueue()
    report_writer = ReportWriter(results)
    report_writer.start()
    try:
        results.put(OrderCallReports([factories.fill_report(half, 40, "x1")]))
        assert report_writer.drain(60)
        half.refresh_from_db()
        assert (half.filled_quantity, DriftItem.objects.count()) == (0, 0)
        results.put(
            OrderCallReports([factories.fill_report(factories.order(leg="entry"), 60, "e2")])
        )
        until(lambda: Order.objects.filter(pk=half.pk, status="FILLED").exists())
    finally:
        report_writer.stop()
        report_writer.join(60)
    half.refresh_from_db()
    assert (half.filled_quantity, half.status, DriftItem.objects.count()) == (40, "FILLED", 0)
    assert ExecutionPosition.objects.get().quantity == 40


@pytest.mark.django_db(transaction=True)
def test_exit_is_applied_after_waiting_a_minute(
    half: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("execution.dispatch.deferred_reports.DEFER_SECONDS", 0)
    monkeypatch.setattr("execution.dispatch.deferred_reports.RETRY_SECONDS", 0.01)
    results: queue.SimpleQueue[ResultItem] = queue.SimpleQueue()
    report_writer = ReportWriter(results)
    report_writer.start()
    try:
        results.put(OrderCallReports([factories.fill_report(half, 40, "x1")]))
        until(DriftItem.objects.exists)
    finally:
        report_writer.stop()
        report_writer.join(60)
    half.refresh_from_db()
    assert (half.filled_quantity, half.status) == (20, "CANCELLED")
    assert DriftItem.objects.get().kind == "EXIT_OVERFILLED"


def test_early_report_of_a_look_up_is_deferred_too(
    half: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("execution.dispatch.deferred_reports.RETRY_SECONDS", 0)
    about = SimpleNamespace(id=half.pk, claimed_until=None)
    background_call = BackgroundCall(half.pk, about, lambda: 1 / 0, apply_lookup_results)  # type: ignore[arg-type,return-value]
    apply_lookup_results([CallResult(background_call, [factories.fill_report(half, 40, "x1")])])
    half.refresh_from_db()
    assert (half.filled_quantity, DriftItem.objects.count()) == (0, 0)
    factories.apply(factories.fill_report(factories.order(leg="entry"), 60, "e2"))
    retry_deferred()
    half.refresh_from_db()
    assert (half.filled_quantity, half.status, DriftItem.objects.count()) == (40, "FILLED", 0)


def test_deferred_report_does_not_split_other_flushes(
    half: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("execution.dispatch.deferred_reports.RETRY_SECONDS", 60)
    apply_or_defer([factories.fill_report(half, 40, "x1")])
    retry_deferred()  # now; the next retry only after a minute
    with CaptureQueriesContext(connection) as asked:
        retry_deferred()
    assert len(asked) == 0


def test_broker_stop_waits_a_minute_for_its_entry(half: Order) -> None:
    entry = factories.order(leg="entry")
    early = stopped(entry, 50, "s2")
    assert factories.apply(early) == [early]
    assert apply_with_bisection([early], defer_overfills=False).reports == []
    assert DriftItem.objects.get().kind == "EXIT_OVERFILLED"
    assert ExecutionPosition.objects.get().quantity == 0


def test_repeated_report_waits_once_and_an_overfill_is_not_applied_early(
    half: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("execution.dispatch.deferred_reports.RETRY_SECONDS", 0)
    monkeypatch.setattr("execution.dispatch.deferred_reports.MAX_REPORTS", 1)
    report = factories.fill_report(half, 40, "x1")
    for again in (report, replace(report, event_id="e"), factories.fill_report(half, 30, "x2")):
        apply_or_defer([again])
    still, over = deferred_reports.deferred_queue.take()
    assert ([one.report for one in still], over) == ([report], [])
