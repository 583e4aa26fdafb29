"""Several reports of one order that cannot be written: none is lost."""

from dataclasses import replace

import pytest

from brokers.types import OrderReport, ReportKind
from connections.models import ExecutionConnection
from execution.base.drift_items import quarantine_report
from execution.models import DriftItem, Order
from execution.reconciliation import decisions
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """An order for 100, filled by one execution."""
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


def drift_events() -> int:
    return len(factories.events("drift.found"))


def unknown_fill(entry: Order, fill_id: str) -> OrderReport:
    strange = (entry.client_order_id or "")[:3] + "abcdefghijklmn0"
    return factories.fill_report(entry, 10, fill_id, client_order_id=strange)


def test_each_execution_beyond_the_ordered_quantity_is_kept(entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 10, "f2"))
    factories.apply(factories.fill_report(entry, 10, "f3"))
    assert item() == ("REPORT_PROCESSING_FAILED", "OPEN", ["f2", "f3"])


def test_each_execution_of_an_unknown_order_is_kept(entry: Order) -> None:
    factories.apply(unknown_fill(entry, "f2"), unknown_fill(entry, "f3"))
    factories.apply(unknown_fill(entry, "f4"))
    assert item() == ("UNKNOWN_ORDER", "OPEN", ["f2", "f3", "f4"])


@pytest.mark.parametrize("kind", ["REPORT_PROCESSING_FAILED", "UNKNOWN_ORDER"])
def test_ignored_item_reopens_only_with_a_new_execution(entry: Order, kind: str) -> None:
    def report(fill_id: str) -> OrderReport:
        if kind == "UNKNOWN_ORDER":
            return unknown_fill(entry, fill_id)
        return factories.fill_report(entry, 10, fill_id)

    factories.apply(report("f2"))
    ignore()
    factories.apply(report("f2"))
    assert (item(), drift_events()) == ((kind, "IGNORED", ["f2"]), 1)
    factories.apply(report("f3"))
    assert (item(), drift_events()) == ((kind, "OPEN", ["f2", "f3"]), 2)
    ignore()
    factories.apply(report("f2"))
    both = report("f3")
    factories.apply(replace(both, fills=(*both.fills, *report("f2").fills)))
    assert (item(), drift_events()) == ((kind, "IGNORED", ["f2", "f3"]), 2)


def test_correction_and_cumulative_report_reopen_an_ignored_item(entry: Order) -> None:
    fill = factories.fill_report(entry, 10, "f2")
    corrected = replace(fill, fills=(replace(fill.fills[0], revision=1),))
    for report in (fill, corrected, factories.fill_report(entry, 130, "", inferred=True)):
        quarantine_report(report, ValueError("no"), "r-1")
    assert item()[2] == ["f2", "f2", ""]
    ignore()
    quarantine_report(factories.fill_report(entry, 140, "", inferred=True), ValueError("no"), "r-2")
    assert item() == ("REPORT_PROCESSING_FAILED", "OPEN", ["f2", "f2", "", ""])


def test_quarantined_report_of_another_kind_reopens_an_ignored_item(entry: Order) -> None:
    accepted, ended = (factories.report(entry, ReportKind(k)) for k in ("ACCEPTED", "CANCELLED"))
    quarantine_report(accepted, ValueError("no"), "r-1")
    ignore()
    quarantine_report(accepted, ValueError("no"), "r-2")
    assert (item()[1], drift_events()) == ("IGNORED", 1)
    quarantine_report(ended, ValueError("no"), "r-3")
    assert (item()[1], drift_events()) == ("OPEN", 2)
    ignore()
    quarantine_report(accepted, ValueError("no"), "r-4")  # reported before
    assert (item()[1], drift_events()) == ("IGNORED", 2)


def test_ignored_order_stays_ignored_when_reported_as_working(entry: Order) -> None:
    accepted = replace(unknown_fill(entry, ""), kind=ReportKind.ACCEPTED, fills=())
    factories.apply(accepted)
    ignore()
    factories.apply(accepted)
    assert item() == ("UNKNOWN_ORDER", "IGNORED", [])
