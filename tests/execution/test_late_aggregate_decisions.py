"""A decision about the call of several orders that were sent as one, after some have moved on."""

from collections.abc import Callable
from functools import partial

import pytest

from brokers.base import NotSent, OutcomeUnknown
from brokers.types import ReportKind
from common.db.sql import run
from common.reason_codes import Code
from connections.models import MAX_AGGREGATION_MS
from execution.models import Order
from execution.recovery import sweeps
from execution.submission.outgoing import Outgoing
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.guards import LATER
from tests.execution.stored_rows import changes_of
from tests.execution.submission.test_aggregation import joined

pytestmark = pytest.mark.django_db


@pytest.fixture
def outgoing(feed: Feed, broker: FakeBroker) -> Outgoing:
    """Two entries of 100, sent as one order; the first one's id is the order's."""
    factories.account(
        feed, snapshot_position_mode="NETTING", aggregation_ms=MAX_AGGREGATION_MS,
        preset_max_open_positions=50,
    )  # fmt: skip
    factories.live_lease()
    return joined(feed, 100, 100)


def members() -> list[Order]:
    return list(Order.objects.order_by("id"))


def states() -> list[str]:
    return [order.status for order in members()]


def not_sent(outgoing: Outgoing) -> None:
    factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))


def sent_again_as_one(outgoing: Outgoing) -> None:
    """No claim does this yet; only the fencing token differs between the two calls."""
    run("UPDATE execution_order SET fence = fence + 1, worker_id = 'process-2'")


def sent_again_apart(outgoing: Outgoing) -> None:
    """One after the other: the aggregate is dissolved."""
    not_sent(outgoing)
    for order in members():
        run("UPDATE execution_order SET due_at = clock_timestamp() WHERE id = %s", (order.pk,))
        factories.claim_all()
    assert states() == ["SUBMITTING", "SUBMITTING"]
    assert {order.aggregate_id for order in members()} == {None}


def taken_over(outgoing: Outgoing) -> None:
    run("DELETE FROM execution_workerlease")
    assert sweeps.mark_orphaned_unknown("process-2") == 2


def taken_over_and_sent_again(outgoing: Outgoing) -> None:
    """As proven unsent: the order is UNKNOWN at first."""
    taken_over(outgoing)
    factories.force("UPDATE execution_order SET status = 'PENDING', aggregate_id = NULL,"
                    " due_at = clock_timestamp(), lookup_after = NULL")  # fmt: skip
    factories.claim_all()
    assert states() == ["SUBMITTING", "SUBMITTING"]


def accepted(outgoing: Outgoing) -> None:
    factories.apply(factories.report(members()[0], ReportKind.ACCEPTED))
    assert states() == ["SUBMITTED", "SUBMITTED"]


def filled_in_part(outgoing: Outgoing) -> None:
    factories.apply(factories.fill_report(members()[0], 60, "f1"))


def filled(outgoing: Outgoing) -> None:
    factories.apply(factories.fill_report(members()[0], 200, "f1"))
    assert states() == ["FILLED", "FILLED"]


MEANWHILE: dict[str, Callable[[Outgoing], None]] = {
    step.__name__: step
    for step in (
        not_sent, sent_again_as_one, sent_again_apart, taken_over, taken_over_and_sent_again,
        accepted, filled_in_part, filled,
    )
}  # fmt: skip


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_late_answer_changes_no_member_that_moved_on(outgoing: Outgoing, meanwhile: str) -> None:
    MEANWHILE[meanwhile](outgoing)
    for error in (NotSent(Code.NOT_CONNECTED), OutcomeUnknown(Code.REPLY_LOST)):
        changed = changes_of(partial(factories.answer, outgoing, error))
        assert not changed, f"{error!r} after {meanwhile} wrote\n" + "\n".join(changed)


@pytest.mark.parametrize("taken", [0, 1])
def test_unsent_member_waits_when_another_was_taken_over(outgoing: Outgoing, taken: int) -> None:
    """What was taken over is looked up under the first one's id: none may be sent beside it."""
    of = members()[taken]
    run(f"UPDATE execution_order SET answer_by = {LATER}")
    run(f"UPDATE execution_workerlease SET lease_until = {LATER}")
    run("UPDATE execution_order SET worker_id = 'process-2' WHERE id = %s", (of.pk,))
    assert sweeps.mark_orphaned_unknown("process-3") == 1
    not_sent(outgoing)
    if taken == 0:  # its fence has moved on: the late answer is no longer about this call
        assert states() == ["UNKNOWN", "SUBMITTING"]
    else:
        assert states() == ["UNKNOWN", "UNKNOWN"]


@pytest.mark.parametrize("fence", [0, 5])
def test_answer_in_time_counts_for_each_member(outgoing: Outgoing, fence: int) -> None:
    run("UPDATE execution_order SET fence = fence + %s WHERE id <> aggregate_id", (fence,))
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    assert states() == ["UNKNOWN", "UNKNOWN"]
