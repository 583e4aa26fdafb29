"""A commission that comes apart from its execution: into that fill, once, and nothing else."""

import json
from dataclasses import replace
from decimal import Decimal as D
from itertools import permutations
from typing import Any

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from analytics.models import AnalyticsDaily
from analytics.services import compute_changed
from brokers.types import CloseCause, Execution, OrderReport, ReportKind
from common.clocks import market_now
from common.db.sql import rows, run
from connections.models import ExecutionConnection
from execution.audit.counters import audit
from execution.dispatch import deferred_reports
from execution.models import DriftItem, Fill, Order
from execution.monitoring.loss_limits import limit_states
from execution.reports.apply import apply_reports
from execution.reports.commissions import StatedCommission, book_commissions, split_commissions
from execution.runtime import broker_queries
from execution.runtime.broker_queries import apply_new_fills
from execution.services import close_position
from positions.closed_results import ClosedRequest, closed_sums
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.submission.test_aggregation import MS, joined
from tests.loss_limits import limit_of
from tests.sampling import chosen, exhaustive
from users.services import create_api_key

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """An order for 100 EUR/USD of a USD account, in flight."""
    factories.signal(feed)
    factories.claim_all()
    return Order.objects.get()


def charged(report: OrderReport, fee: str, currency: str = "USD", revision: int = 0) -> OrderReport:
    """The same executions again, as a broker repeats them when it states their commission."""
    fills: list[Execution] = []
    for fill in report.fills:
        whole = replace(fill, commission=D(fee), commission_currency=currency, revision=revision)
        fills += [whole, replace(whole, is_commission_only=True)]
    return replace(report, fills=tuple(fills))


def alone(report: OrderReport) -> OrderReport:
    """What is left of it once the executions are known to be stored."""
    return replace(report, fills=tuple(f for f in report.fills if f.is_commission_only))


def stopped(entry: Order, quantity: int, fill_id: str = "s1") -> OrderReport:
    report = factories.fill_report(entry, quantity, fill_id, price="1.09000", broker_order_id="X1")
    return replace(report, close_cause=CloseCause.STOP_LOSS, levels=None)


def position() -> ExecutionPosition:
    return ExecutionPosition.objects.get()


def booked() -> tuple[Any, ...]:
    """Commission of the position, of all orders and of all fills, which are in USD here."""
    orders = sum(order.commission for order in Order.objects.all())
    return position().commission, orders, sum(f.commission for f in Fill.objects.all())


ALL_ELSE = """
SELECT o.id, o.status, o.reason, o.quantity, o.filled_quantity, o.inferred_quantity, o.done_at,
  o.avg_fill_price, o.acknowledged_at, f.quantity AS part, f.price, f.time, f.revision, f.inferred
FROM execution_order o LEFT JOIN execution_fill f ON f.order_id = o.id ORDER BY 1, f.id
"""
POSITIONS = """
SELECT quantity, reserved, opened_quantity, entry_price, realized_pnl, opened_at, closed_at,
  close_reason, levels_reported_at FROM positions_executionposition ORDER BY id
"""


def all_else() -> list[list[tuple[Any, ...]]]:
    """Everything but commissions."""
    found = [[tuple(row) for row in rows(statement)] for statement in (ALL_ELSE, POSITIONS)]
    counters = audit().counters
    assert (counters["MISMATCH"], counters["REVERSED"], counters["DUP"]) == (0, 0, 0)
    return found


def test_late_commission_is_booked_once_and_changes_nothing_else(entry: Order) -> None:
    report = factories.fill_report(entry, 100, "e1")
    factories.apply(report)
    before, active = all_else(), position().last_activity_at
    late = charged(report, "1.25")
    factories.apply(late)
    assert booked() == (D("1.25"), D("1.25"), D("1.25"))
    factories.apply(late, late)
    factories.apply(alone(late), report)
    assert booked() == (D("1.25"), D("1.25"), D("1.25"))
    assert all_else() == before
    assert position().last_activity_at == active  # no read of the broker is older than it now
    lines = [line for line in factories.log_codes(entry.pk) if line[0] == "COMMISSION_REPORTED"]
    assert lines == [("COMMISSION_REPORTED", "FILLED")]
    assert Fill.objects.get().commission_currency == "USD"


@pytest.mark.parametrize("every", [7, exhaustive(1)])
def test_every_order_of_arrival_has_one_result(entry: Order, every: int) -> None:
    first, second = factories.fill_report(entry, 60, "e1"), factories.fill_report(entry, 40, "e2")
    whole = factories.fill_report(entry, 100, "sum", inferred=True)
    late = (charged(first, "1.25"), charged(second, "0.75"))
    for reports in chosen(permutations((first, second, whole, *late)), every=every):
        for batches in ([reports], [[report] for report in reports]):
            with transaction.atomic():
                for batch in batches:
                    factories.apply_then_commit(*batch)
                assert booked() == (D(2), D(2), D(2)), reports
                assert (position().quantity, Fill.objects.count()) == (100, 2)
                assert not DriftItem.objects.exists()
                transaction.set_rollback(True)


def test_corrected_commission_replaces_the_booked_one(entry: Order) -> None:
    report = factories.fill_report(entry, 100, "e1")
    factories.apply(charged(report, "1.25"))
    factories.apply(charged(report, "1.50"))
    assert booked() == (D("1.50"),) * 3
    factories.apply(charged(report, "-0.10"))  # a rebate
    assert booked() == (D("-0.10"),) * 3
    factories.apply(charged(report, "0"))
    assert booked() == (D(0),) * 3
    factories.apply(charged(report, "0.30"), charged(report, "0.40"))  # at once: the last counts
    assert booked() == (D("0.40"),) * 3


def test_commission_belongs_to_a_version_of_the_execution(entry: Order) -> None:
    report = factories.fill_report(entry, 100, "e1")
    factories.apply(charged(report, "1.25"))
    corrected = replace(report, fills=(replace(report.fills[0], price=D("1.2"), revision=2),))
    factories.apply(corrected)
    assert booked() == (D(0),) * 3
    factories.apply(charged(report, "1.25"))  # of the version before
    assert booked() == (D(0),) * 3
    factories.apply(charged(corrected, "1.75", revision=2))
    factories.apply(charged(report, "1.25"))
    assert booked() == (D("1.75"),) * 3
    factories.apply(charged(corrected, "1.80", revision=2), charged(report, "1.25"))
    assert booked() == (D("1.80"),) * 3
    assert position().entry_price == D("1.2")


def test_commission_after_the_close_reaches_results_limits_and_the_day(
    entry: Order, alice: ExecutionConnection
) -> None:
    limit_of(alice.preset, unit="AMOUNT", maximum=D(500), measure="REALIZED_LOSS")
    opened, left = factories.fill_report(entry, 100, "e1"), stopped(entry, 100)
    factories.apply(opened)
    factories.apply(left)
    compute_changed()
    assert AnalyticsDaily.objects.get().total_pnl == D(-1)
    before = all_else()
    factories.apply(charged(opened, "0.25"), charged(left, "0.50"))
    assert booked() == (D("0.75"),) * 3
    assert position().net_result == D("-1.75")
    assert all_else() == before
    sums = closed_sums([ClosedRequest(alice.pk, position().opened_at, None)])
    assert sums[0].net == D("-1.75")
    assert [state.value for state in limit_states(alice.pk)] == [D("1.75")]
    compute_changed(recent=0)
    day = AnalyticsDaily.objects.get()
    assert (day.commission, day.total_pnl, day.trades) == (D("0.75"), D("-1.75"), 1)
    assert len(factories.events("position.closed")) == 1
    client = APIClient()
    assert alice.user is not None
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {create_api_key(alice.user, 'test')[1]}")
    found = json.loads(client.get(f"/api/v1/positions/{position().pk}/").content)
    assert (D(found["commission"]), D(found["realized_pnl"])) == (D("0.75"), D(-1))


def test_commission_in_another_currency_is_converted_when_it_comes(
    entry: Order, alice: ExecutionConnection
) -> None:
    report = factories.fill_report(entry, 100, "e1")
    factories.apply(report)
    factories.quote(alice, "1.25", "1.25", pair="GBP/USD")
    factories.apply(charged(report, "2", "GBP"))
    assert (position().commission, position().unconverted_fees) == (D("2.5"), {})
    run("UPDATE prices_latestquote SET bid = 2, ask = 2 WHERE symbol = 'GBP/USD'")
    factories.apply(charged(report, "2", "GBP"))  # booked at the rate of then
    assert booked() == (D("2.5"), D("2.5"), D(2))
    run("DELETE FROM prices_latestquote WHERE symbol = 'GBP/USD'")
    factories.apply(charged(report, "4", "GBP"))  # corrected without a quote: at the stored rate
    assert booked() == (D(5), D(5), D(4))
    factories.apply(charged(report, "3", "EUR"))  # the pair's base: at the fill's own price
    assert booked() == (D("3.3"), D("3.3"), D(3))


def test_commission_without_a_rate_is_listed_in_its_currency(entry: Order) -> None:
    report = factories.fill_report(entry, 100, "e1")
    factories.apply(report)
    active = position().last_activity_at
    factories.apply(charged(report, "2", "GBP"))
    assert (position().commission, position().unconverted_fees) == (0, {"GBP": "2"})
    assert Order.objects.get().unconverted_fees == {"GBP": "2"}
    assert position().last_activity_at == active
    factories.apply(charged(report, "2.2", "USD"))
    assert (position().commission, position().unconverted_fees) == (D("2.2"), {})
    factories.apply(charged(report, "1", "JPY"), stopped(Order.objects.get(), 100))
    assert (position().commission, position().unconverted_fees) == (0, {"JPY": "1"})


@pytest.fixture
def leaving(entry: Order) -> Order:
    """An exit of 100 at the broker, while the broker's stop has taken 60 of them."""
    factories.apply(factories.fill_report(entry, 100, "e1"))
    close_position(position().pk)
    factories.claim_all()
    factories.apply(stopped(entry, 60))
    assert position().quantity == 40
    return factories.order(leg="close-1")


def beyond(exit_: Order, **quantities: int) -> OrderReport:
    report = factories.fill_report(exit_, 1, "x")
    fills = [
        replace(report.fills[0], broker_fill_id=n, quantity=D(q)) for n, q in quantities.items()
    ]
    return replace(report, fills=tuple(fills))


def test_commission_of_an_exit_that_was_capped_is_booked(leaving: Order) -> None:
    """x1 is within what was open, x2 in part, and x3 beyond: it is no fill here."""
    report = beyond(leaving, x1=30, x2=35, x3=35)
    factories.apply(report)
    items = list(DriftItem.objects.values("kind", "state", "evidence"))
    assert [item["kind"] for item in items] == ["EXIT_OVERFILLED"]
    before = all_else()
    late = charged(report, "1.25")
    for again in (late, alone(late), report):
        factories.apply(again)
        assert booked() == (D("2.50"),) * 3
        assert all_else() == before
        assert list(DriftItem.objects.values("kind", "state", "evidence")) == items
    leaving.refresh_from_db()
    assert (leaving.status, leaving.filled_quantity) == ("CANCELLED", 40)


def test_exit_is_capped_when_its_commissions_come_with_it(leaving: Order) -> None:
    factories.apply(charged(beyond(leaving, x1=30, x2=35, x3=35), "1.25"))
    assert booked() == (D("2.50"),) * 3
    assert (position().quantity, position().reserved) == (0, 0)
    item = DriftItem.objects.get()
    assert (item.kind, item.evidence["differs"]) == ("EXIT_OVERFILLED", "40 100")
    assert [fill["broker_fill_id"] for fill in item.evidence["fills"]] == ["x1", "x2", "x3"]


def test_commission_waits_with_a_broker_exit_before_its_entry(entry: Order) -> None:
    late = charged(stopped(entry, 100), "0.50")
    assert factories.apply(late) == [late]  # as it came
    factories.apply(factories.fill_report(entry, 100, "e1"), late)
    assert booked() == (D("0.50"),) * 3
    assert (position().quantity, position().close_reason) == (0, "sl")


def test_commission_replaces_no_inferred_fill_and_comes_with_the_execution(entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 100, "sum", inferred=True))
    first = charged(factories.fill_report(entry, 60, "e1"), "1.25")
    before = all_else()
    factories.apply(alone(first))
    assert (booked(), all_else()) == ((D(0),) * 3, before)
    factories.apply(first)
    assert booked() == (D("1.25"),) * 3
    assert [(f.inferred, f.quantity) for f in Fill.objects.order_by("inferred")] == [
        (False, 60), (True, 40),
    ]  # fmt: skip
    assert position().quantity == 100


@pytest.mark.parametrize("fill_id", ["linked:7", ""])
def test_commission_of_a_fill_that_a_person_had_entered(entry: Order, fill_id: str) -> None:
    """A linked position, and a close outside Fillcast, are inferred until executions come."""
    opened, left = factories.fill_report(entry, 100, "e1"), stopped(entry, 100)
    factories.apply(factories.fill_report(entry, 100, fill_id, inferred=True))
    gone = replace(stopped(entry, 100, ""), broker_order_id="", close_cause=CloseCause.EXTERNAL)
    factories.apply(replace(gone, fills=(replace(gone.fills[0], inferred=True),)))
    assert position().quantity == 0
    for report in (charged(left, "0.50"), charged(opened, "0.25")):
        factories.apply(alone(report))
        factories.apply(report, report)
    assert booked() == (D("0.75"),) * 3
    assert (position().quantity, position().close_reason) == (0, "sl")
    assert sorted(Fill.objects.values_list("broker_fill_id", "inferred")) == [
        ("e1", False), ("s1", False),
    ]  # fmt: skip
    assert audit().counters["MISMATCH"] == 0


def test_commission_of_an_execution_corrected_to_nothing_is_none(entry: Order) -> None:
    whole = factories.fill_report(entry, 60, "e1"), factories.fill_report(entry, 40, "e2")
    factories.apply(*whole)
    factories.apply(
        replace(whole[1], fills=(replace(whole[1].fills[0], quantity=D(0), revision=2),))
    )
    factories.apply(charged(whole[1], "1.25"), charged(whole[0], "0.25"))
    assert booked() == (D("0.25"),) * 3
    assert position().quantity == 60


def test_commission_of_an_order_sent_as_several_is_shared(feed: Feed) -> None:
    factories.account(
        feed, snapshot_position_mode="NETTING", aggregation_ms=MS, preset_max_open_positions=50
    )
    outgoing = joined(feed, 100, 300)
    first = Order.objects.get(pk=outgoing.request.order_id)
    report = factories.report(
        first, ReportKind.FILLED, fills=(Execution("x1", D(400), D("1.1"), market_now()),)
    )
    factories.apply(report)
    before = all_else()
    late = charged(report, "2")
    factories.apply(late)
    factories.apply(late, alone(late))
    shares = [order.commission for order in Order.objects.filter(leg="entry").order_by("id")]
    assert shares == [D("0.5"), D("1.5")]
    assert [p.commission for p in ExecutionPosition.objects.order_by("id")] == shares
    assert [f.commission for f in Fill.objects.order_by("order_id")] == shares
    assert all_else() == before
    lines = [factories.log_codes(order.pk) for order in Order.objects.filter(leg="entry")]
    assert [[code for code, _ in of].count("COMMISSION_REPORTED") for of in lines] == [1, 1]


def test_operator_books_the_commission_of_an_earlier_day(entry: Order) -> None:
    """As docs/interactive-brokers.md says."""
    factories.apply(factories.fill_report(entry, 100, "0000e0d5.65f1a2b3.01"), stopped(entry, 100))
    fee = StatedCommission(str(entry.connection_id), "0000e0d5.65f1a2b3.01", 0, D("1.25"), "USD")
    for _ in range(2):
        book_commissions([fee])
        assert booked() == (D("1.25"),) * 3
    book_commissions([fee._replace(broker_fill_id="unknown")])
    assert booked() == (D("1.25"),) * 3


def test_polled_commission_is_applied_only_if_it_is_missing(entry: Order) -> None:
    report = factories.fill_report(entry, 100, "e1")
    factories.apply(report)
    late = charged(report, "1.25")
    assert [r.fills for r in broker_queries._not_stored([late])] == [alone(late).fills]
    apply_new_fills([late])
    assert booked() == (D("1.25"),) * 3
    assert broker_queries._not_stored([late, report]) == []


def test_listed_commission_of_a_close_by_hand_is_booked_after_the_close(entry: Order) -> None:
    """The list names no entry, and no open position does any more."""
    factories.apply(factories.fill_report(entry, 100, "e1"))
    by_hand = replace(stopped(entry, 100), close_cause=CloseCause.EXTERNAL)
    factories.apply(by_hand)
    before = all_else()
    listed = charged(replace(by_hand, client_order_id=""), "0.50")
    for _ in range(2):
        apply_new_fills([listed])
        assert booked() == (D("0.50"),) * 3
    assert all_else() == before
    assert not DriftItem.objects.exists()


def test_commission_for_an_unknown_order_is_no_drift_of_its_own(entry: Order) -> None:
    report = replace(factories.fill_report(entry, 100, "e1"), client_order_id="tst0000000000000x1")
    factories.apply(charged(report, "1.25"))
    item = DriftItem.objects.get()
    assert [fill["broker_fill_id"] for fill in item.evidence["fills"]] == ["e1"]
    assert apply_reports([alone(charged(report, "1.25"))]).written == 0
    assert DriftItem.objects.count() == 1


def test_deferred_commission_is_not_taken_for_its_execution(entry: Order) -> None:
    report = factories.fill_report(entry, 100, "e1")
    queue = deferred_reports.DeferredReportQueue()
    queue.add([report, alone(charged(report, "1")), alone(charged(report, "2"))])
    assert len(queue.take()[0]) == 3


def test_reports_without_commissions_are_not_copied(entry: Order) -> None:
    report = factories.fill_report(entry, 100, "e1")
    late = charged(report, "1")
    split = split_commissions([report, late, alone(late)])
    assert split.reports[0] is report
    assert [r.fills for r in split.reports] == [report.fills, late.fills[:1]]
    assert split.as_they_came(split.reports) == [report, late]
    assert len(split.commissions) == 2
