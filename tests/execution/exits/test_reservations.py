"""Whatever ends, begins or fills an exit: reserved is what the live exits may still fill."""

from collections.abc import Callable
from decimal import Decimal as D

import pytest

from brokers.base import NotSent
from brokers.types import ReportKind
from common.db.sql import run
from common.reason_codes import Code
from connections.models import Epoch, ExecutionConnection
from execution.cancels import cancel_order
from execution.disaster_recovery.epochs import open_epoch
from execution.models import TERMINAL, Order
from execution.monitoring.pending_actions import process_pending_actions
from execution.order_retries import retry_order
from execution.services import close_position
from execution.submission.quarantine import quarantine_order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.halfway import exit_waiting

pytestmark = pytest.mark.usefixtures("inline_commits", "runtime")


def older() -> Order:
    return Order.objects.get(leg="close-1")


def cancelled() -> None:
    cancel_order(older().pk)


def cancelled_by_an_action() -> None:
    run("UPDATE execution_order SET pending_action = 'CANCEL' WHERE leg = 'close-1'")
    process_pending_actions()


def quarantined() -> None:
    quarantine_order(older().pk, ValueError("no such thing"))


def restored() -> None:
    open_epoch(Epoch.Cause.COMMAND)


def sent() -> None:
    factories.claim_all()


def not_sent() -> None:
    for outgoing in factories.claim_all():
        factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))


def filled_in_part() -> None:
    sent()
    factories.apply(factories.fill_report(older(), 20, "x1"))


def filled() -> None:
    sent()
    factories.apply(factories.fill_report(older(), 50, "x1"))


def rejected() -> None:
    sent()
    factories.apply(factories.report(older(), ReportKind.REJECTED, code=Code.REJECTED_BY_BROKER))


def ended_after_a_part() -> None:
    filled_in_part()
    factories.apply(factories.report(older(), ReportKind.CANCELLED))


def retried() -> None:
    cancelled()
    factories.force(
        "UPDATE execution_order SET status = 'FAILED', reason = 'NEVER_ARRIVED' WHERE id = %s",
        (older().pk,),
    )
    retry_order(older().pk)


ACTS: dict[Callable[[], None], int] = {
    cancelled: 20, cancelled_by_an_action: 20, quarantined: 20, restored: 0, sent: 70,
    not_sent: 70, filled_in_part: 50, filled: 20, rejected: 20, ended_after_a_part: 20, retried: 70,
}  # fmt: skip
"""What is reserved after each act on an exit of 50, beside a newer one of 20."""


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_reserved_is_what_live_exits_may_still_fill(
    alice: ExecutionConnection, feed: Feed, act: Callable[[], None]
) -> None:
    exit_waiting(feed)
    close_position(ExecutionPosition.objects.get().pk, fraction=D("0.2"))
    act()
    live = [
        one.quantity - one.filled_quantity
        for one in Order.objects.exits().exclude(status__in=TERMINAL)
        if one.quantity is not None
    ]
    assert (sum(live), ExecutionPosition.objects.get().reserved) == (ACTS[act], ACTS[act])
