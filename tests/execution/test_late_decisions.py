"""A decision that was taken about a row changes nothing if the row has moved on meanwhile.

Each table has decisions that were prepared (an answer that comes late, a look-up, a cancel's
result), and what the other party does before they are written. The first column, `nothing`, shows
that the decision does change the row if nothing happens meanwhile.
"""

from collections.abc import Callable
from decimal import Decimal as D
from functools import partial
from typing import Any

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed
from brokers.types import ReportKind
from common.db.sql import rows, run
from common.reason_codes import Code
from connections.session_lanes import held_lanes_parameters
from execution.dispatch.background_calls import BackgroundCall, CallResult
from execution.models import Order
from execution.recovery import sweeps
from execution.services import close_position
from execution.submission.outgoing import Outgoing
from signals.models import Feed
from tests.execution import factories
from tests.execution.stored_rows import changes_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("alice")]

Step = Callable[[Order], object]
Prepared = tuple[Order, Callable[[], object]]


def refreshed(order: Order) -> Order:
    return Order.objects.get(pk=order.pk)


def expect_unchanged(write: Callable[[], object], cell: str) -> None:
    changed = changes_of(write)
    assert not changed, f"{cell}: the late decision wrote\n" + "\n".join(changed)


# ---- what other parties do ----------------------------------------------------------------------
def nothing(order: Order) -> None:
    """The order is as the decision has read it."""


def made_due(order: Order) -> None:
    factories.answer(factories.claimed_call(refreshed(order)), NotSent(Code.NOT_CONNECTED))


def sent_again(order: Order) -> None:
    made_due(order)
    run("UPDATE execution_order SET due_at = clock_timestamp() WHERE id = %s", (order.pk,))
    factories.claim_all("process-2")
    assert refreshed(order).status == "SUBMITTING"


def lost_again(order: Order) -> None:
    sent_again(order)
    factories.answer(factories.claimed_call(refreshed(order)), OutcomeUnknown(Code.REPLY_LOST))


def lost_itself(order: Order) -> None:
    """The same call has timed out: whatever it states afterwards comes too late."""
    factories.answer(factories.claimed_call(refreshed(order)), OutcomeUnknown(Code.REPLY_LOST))


def taken_over(order: Order) -> None:
    run("DELETE FROM execution_workerlease")
    assert sweeps.mark_orphaned_unknown("process-2") == 1


def accepted(order: Order) -> None:
    factories.apply(factories.report(refreshed(order), ReportKind.ACCEPTED))


def filled_in_part(order: Order) -> None:
    factories.apply(factories.fill_report(refreshed(order), 40, "f1"))


def filled(order: Order) -> None:
    factories.apply(factories.fill_report(refreshed(order), order.quantity or 100, "f1"))


def rejected(order: Order) -> None:
    factories.apply(
        factories.report(refreshed(order), ReportKind.REJECTED, code=Code.REJECTED_BY_BROKER)
    )


def ended(order: Order) -> None:
    factories.apply(factories.report(refreshed(order), ReportKind.CANCELLED))


# ---- answers of a call that is over -------------------------------------------------------------
LATE_ANSWERS: dict[str, Any] = {
    "not sent": NotSent(Code.NOT_CONNECTED),
    "not sent, login refused": NotSent(Code.CREDENTIALS_REFUSED),
    "unknown": OutcomeUnknown(Code.REPLY_LOST),
}
AFTER_A_CALL: dict[str, Step] = {
    step.__name__: step
    for step in (
        made_due, sent_again, lost_again, lost_itself, taken_over, accepted, filled_in_part,
        filled, rejected,
        ended,
    )
}  # fmt: skip


def sent_entry(feed: Feed) -> tuple[Order, Outgoing]:
    factories.signal(feed)
    factories.live_lease()
    (outgoing,) = factories.claim_all()
    return Order.objects.get(), outgoing


def sent_exit(feed: Feed) -> tuple[Order, Outgoing]:
    position = factories.filled(factories.signal(feed))
    factories.live_lease()
    [order_id] = close_position(position.pk, fraction=D("0.5"))
    (outgoing,) = factories.claim_all()
    return Order.objects.get(pk=order_id), outgoing


@pytest.mark.parametrize("meanwhile", AFTER_A_CALL)
@pytest.mark.parametrize("of", [sent_entry, sent_exit])
def test_late_answer_changes_no_order_that_moved_on(
    feed: Feed, of: Callable[[Feed], tuple[Order, Outgoing]], meanwhile: str
) -> None:
    order, outgoing = of(feed)
    AFTER_A_CALL[meanwhile](order)
    for answer, error in LATE_ANSWERS.items():
        cell = f"{answer}, of a call for {order.leg} that was {meanwhile}"
        expect_unchanged(partial(factories.answer, outgoing, error), cell)


@pytest.mark.parametrize("answer", LATE_ANSWERS)
def test_answer_in_time_changes_the_order(feed: Feed, answer: str) -> None:
    _, outgoing = sent_entry(feed)
    assert changes_of(lambda: factories.answer(outgoing, LATE_ANSWERS[answer]))


# ---- look-ups -----------------------------------------------------------------------------------
def looked_up(order: Order) -> sweeps.LookUpRow:
    """Claim the look-up of an order that is UNKNOWN, and whose call can no longer arrive."""
    factories.pass_time(61)
    claim: dict[str, Any] = {"first": 1, "longest": 1, "claim": 30, "worker_id": "process-1"}
    (row,) = rows(sweeps.CLAIM_LOOKUPS, {**claim, **held_lanes_parameters()})
    assert row.id == order.pk
    return row


def result_of(row: Any, answer: Any) -> CallResult:
    async def call() -> None: ...

    return CallResult(BackgroundCall(("look-up", row.id), row, call, lambda done: None), answer)


def absent(row: sweeps.LookUpRow) -> None:
    sweeps.apply_lookup_results([result_of(row, None)])


def looked_up_by_another(order: Order) -> None:
    """Its claim has ended; the other process has found nothing either."""
    absent(looked_up(order))


def sent_again_as_absent(order: Order) -> None:
    """The other processes have confirmed the absence, and sent the exit again: under this id."""
    while refreshed(order).status == "UNKNOWN":
        absent(looked_up(order))
    factories.claim_all("process-2")


def lost_again_as_absent(order: Order) -> None:
    sent_again_as_absent(order)
    factories.answer(factories.claimed_call(refreshed(order)), OutcomeUnknown(Code.REPLY_LOST))


def lost(of: Callable[[Feed], tuple[Order, Outgoing]], feed: Feed, confirmed: int) -> Order:
    order, outgoing = of(feed)
    factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
    for _ in range(confirmed):
        absent(looked_up(order))
    return refreshed(order)


AFTER_A_LOOK_UP = {
    "looked_up_by_another": looked_up_by_another, "accepted": accepted,
    "filled_in_part": filled_in_part, "filled": filled, "rejected": rejected, "ended": ended,
    "sent_again_as_absent": sent_again_as_absent, "lost_again_as_absent": lost_again_as_absent,
}  # fmt: skip
# Its own columns: whose turn it is to ask again.
OF_LOOK_UPS = ("lookup_after", "lookup_claimed_until")


@pytest.mark.parametrize("confirmed", [0, 1])
@pytest.mark.parametrize("meanwhile", AFTER_A_LOOK_UP)
def test_absence_is_not_counted_when_order_has_moved_on(
    feed: Feed, meanwhile: str, confirmed: int
) -> None:
    of = sent_exit if "as_absent" in meanwhile or confirmed else sent_entry
    order = lost(of, feed, confirmed)
    row = looked_up(order)
    AFTER_A_LOOK_UP[meanwhile](order)
    changed = changes_of(lambda: absent(row), OF_LOOK_UPS)
    assert not changed, f"absence {confirmed + 1}, {meanwhile}:\n" + "\n".join(changed)


@pytest.mark.parametrize("confirmed", [0, 1])
@pytest.mark.parametrize("of", [sent_entry, sent_exit])
def test_absence_of_an_unmoved_order_is_counted(
    feed: Feed, of: Callable[[Feed], tuple[Order, Outgoing]], confirmed: int
) -> None:
    order = lost(of, feed, confirmed)
    absent(looked_up(order))
    found = refreshed(order)
    after = {0: "UNKNOWN", 1: "FAILED" if order.is_entry else "PENDING"}[confirmed]
    assert (found.status, found.absence_confirmations) == (after, confirmed + 1)
    assert found.fence == order.fence + confirmed


@pytest.mark.parametrize("answer", [None, ReadFailed(Code.NOT_CONNECTED)])
def test_late_look_up_keeps_the_next_claim(feed: Feed, answer: Any) -> None:
    order = lost(sent_entry, feed, 0)
    late = looked_up(order)
    order.refresh_from_db()
    current = looked_up(order)
    sweeps.apply_lookup_results([result_of(late, answer)])
    assert refreshed(order).lookup_claimed_until == current.claimed_until
