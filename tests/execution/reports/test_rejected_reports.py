"""Reports that cannot be written down, one after another about the same order: none is lost."""

from dataclasses import replace

import pytest

from brokers.types import OrderReport, ReportKind
from connections.models import ExecutionConnection
from execution.base.drift_items import quarantine_report
from execution.models import DriftItem, Order
from execution.reconciliation import decisions
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """100, filled by one execution."""
    factories.signal(feed)
    factories.claim_all()
    found = factories.order(leg="entry")
    factories.apply(factories.fill_report(found, 100, "f1"))
    return found


def item() -> tuple[str, str, list[str]]:
    found = DriftItem.objects.get()
    return found.kind, found.state, [fill["broker_fill_id"] for fill in found.evidence["fills"]]


def ignore() -> None:
    decisions.ignore(DriftItem.objects.get().pk, by=None, reason="It is known.")


def told() -> int:
    return len(factories.events("drift.found"))


def nobodys(entry: Order, fill_id: str) -> OrderReport:
    strange = (entry.client_order_id or "")[:3] + "abcdefghijklmn0"
    return factories.fill_report(entry, 10, fill_id, client_order_id=strange)


def test_each_execution_beyond_what_was_ordered_is_kept(entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 10, "f2"))
    factories.apply(factories.fill_report(entry, 10, "f3"))
    assert item() == ("REPORT_PROCESSING_FAILED", "OPEN", ["f2", "f3"])


def test_each_execution_for_an_order_that_we_have_no_row_of_is_kept(entry: Order) -> None:
    factories.apply(nobodys(entry, "f2"), nobodys(entry, "f3"))
    factories.apply(nobodys(entry, "f4"))
    assert item() == ("UNKNOWN_ORDER", "OPEN", ["f2", "f3", "f4"])


@pytest.mark.parametrize("kind", ["REPORT_PROCESSING_FAILED", "UNKNOWN_ORDER"])
def test_what_was_left_is_open_again_by_a_new_execution_and_only_by_that(
    entry: Order, kind: str
) -> None:
    def report(fill_id: str) -> OrderReport:
        if kind == "UNKNOWN_ORDER":
            return nobodys(entry, fill_id)
        return factories.fill_report(entry, 10, fill_id)

    factories.apply(report("f2"))
    ignore()
    factories.apply(report("f2"))
    assert (item(), told()) == ((kind, "IGNORED", ["f2"]), 1)
    factories.apply(report("f3"))
    assert (item(), told()) == ((kind, "OPEN", ["f2", "f3"]), 2)
    ignore()
    factories.apply(report("f2"))
    both = report("f3")
    factories.apply(replace(both, fills=(*both.fills, *report("f2").fills)))
    assert (item(), told()) == ((kind, "IGNORED", ["f2", "f3"]), 2)


def test_a_correction_and_a_sum_are_something_new(entry: Order) -> None:
    fill = factories.fill_report(entry, 10, "f2")
    corrected = replace(fill, fills=(replace(fill.fills[0], revision=1),))
    for report in (fill, corrected, factories.fill_report(entry, 130, "", inferred=True)):
        quarantine_report(report, ValueError("no"), "r-1")
    assert item()[2] == ["f2", "f2", ""]
    ignore()
    quarantine_report(factories.fill_report(entry, 140, "", inferred=True), ValueError("no"), "r-2")
    assert item() == ("REPORT_PROCESSING_FAILED", "OPEN", ["f2", "f2", "", ""])


def test_a_poisoned_report_of_another_kind_is_something_new(entry: Order) -> None:
    accepted, ended = (factories.report(entry, ReportKind(k)) for k in ("ACCEPTED", "CANCELLED"))
    quarantine_report(accepted, ValueError("no"), "r-1")
    ignore()
    quarantine_report(accepted, ValueError("no"), "r-2")
    assert (item()[1], told()) == ("IGNORED", 1)
    quarantine_report(ended, ValueError("no"), "r-3")
    assert (item()[1], told()) == ("OPEN", 2)
    ignore()
    quarantine_report(accepted, ValueError("no"), "r-4")  # told before
    assert (item()[1], told()) == ("IGNORED", 2)


def test_an_order_that_was_left_stays_so_when_it_is_told_to_rest(entry: Order) -> None:
    accepted = replace(nobodys(entry, ""), kind=ReportKind.ACCEPTED, fills=())
    factories.apply(accepted)
    ignore()
    factories.apply(accepted)
    assert item() == ("UNKNOWN_ORDER", "IGNORED", [])
