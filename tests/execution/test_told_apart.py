"""Reports that cannot be written down, one after another about the same order: none is lost."""

from dataclasses import replace

import pytest

from brokers.messages import OrderReport, ReportKind
from connections.models import ExecutionConnection
from execution.drift import decisions
from execution.drift.notes import set_aside
from execution.models import DriftItem, Order
from signals.models import Feed
from tests.execution import cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """100, filled by one execution."""
    cast.signal(feed)
    cast.claim_all()
    found = cast.order(leg="entry")
    cast.tell(cast.fill_report(found, 100, "f1"))
    return found


def item() -> tuple[str, str, list[str]]:
    found = DriftItem.objects.get()
    return found.kind, found.state, [fill["broker_fill_id"] for fill in found.evidence["fills"]]


def ignore() -> None:
    decisions.ignore(DriftItem.objects.get().pk, by=None, reason="It is known.")


def told() -> int:
    return len(cast.events("drift.found"))


def nobodys(entry: Order, fill_id: str) -> OrderReport:
    strange = (entry.client_order_id or "")[:3] + "abcdefghijklmn0"
    return cast.fill_report(entry, 10, fill_id, client_order_id=strange)


def test_each_execution_beyond_what_was_ordered_is_kept(entry: Order) -> None:
    cast.tell(cast.fill_report(entry, 10, "f2"))
    cast.tell(cast.fill_report(entry, 10, "f3"))
    assert item() == ("POISONED_REPORT", "OPEN", ["f2", "f3"])


def test_each_execution_for_an_order_that_we_have_no_row_of_is_kept(entry: Order) -> None:
    cast.tell(nobodys(entry, "f2"), nobodys(entry, "f3"))
    cast.tell(nobodys(entry, "f4"))
    assert item() == ("UNKNOWN_ORDER", "OPEN", ["f2", "f3", "f4"])


@pytest.mark.parametrize("kind", ["POISONED_REPORT", "UNKNOWN_ORDER"])
def test_what_was_left_is_open_again_by_a_new_execution_and_only_by_that(
    entry: Order, kind: str
) -> None:
    def report(fill_id: str) -> OrderReport:
        if kind == "UNKNOWN_ORDER":
            return nobodys(entry, fill_id)
        return cast.fill_report(entry, 10, fill_id)

    cast.tell(report("f2"))
    ignore()
    cast.tell(report("f2"))
    assert (item(), told()) == ((kind, "IGNORED", ["f2"]), 1)
    cast.tell(report("f3"))
    assert (item(), told()) == ((kind, "OPEN", ["f2", "f3"]), 2)
    ignore()
    cast.tell(report("f2"))
    both = report("f3")
    cast.tell(replace(both, fills=(*both.fills, *report("f2").fills)))
    assert (item(), told()) == ((kind, "IGNORED", ["f2", "f3"]), 2)


def test_a_correction_and_a_sum_are_something_new(entry: Order) -> None:
    fill = cast.fill_report(entry, 10, "f2")
    corrected = replace(fill, fills=(replace(fill.fills[0], revision=1),))
    for report in (fill, corrected, cast.fill_report(entry, 130, "", inferred=True)):
        set_aside(report, ValueError("no"), "r-1")
    assert item()[2] == ["f2", "f2", ""]
    ignore()
    set_aside(cast.fill_report(entry, 140, "", inferred=True), ValueError("no"), "r-2")
    assert item() == ("POISONED_REPORT", "OPEN", ["f2", "f2", "", ""])


def test_a_poisoned_report_of_another_kind_is_something_new(entry: Order) -> None:
    accepted, ended = (cast.report(entry, ReportKind(k)) for k in ("ACCEPTED", "CANCELLED"))
    set_aside(accepted, ValueError("no"), "r-1")
    ignore()
    set_aside(accepted, ValueError("no"), "r-2")
    assert (item()[1], told()) == ("IGNORED", 1)
    set_aside(ended, ValueError("no"), "r-3")
    assert (item()[1], told()) == ("OPEN", 2)
    ignore()
    set_aside(accepted, ValueError("no"), "r-4")  # told before
    assert (item()[1], told()) == ("IGNORED", 2)


def test_an_order_that_was_left_stays_so_when_it_is_told_to_rest(entry: Order) -> None:
    accepted = replace(nobodys(entry, ""), kind=ReportKind.ACCEPTED, fills=())
    cast.tell(accepted)
    ignore()
    cast.tell(accepted)
    assert item() == ("UNKNOWN_ORDER", "IGNORED", [])
