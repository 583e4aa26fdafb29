"""An intent that a living process has lost is due again, and can never leave twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from common import failpoints
from common.db.sql import run
from common.failpoints import Failpoint, FailpointError
from connections.models import ExecutionConnection
from execution import services
from execution.dispatch.journal_folder import journal_folder
from execution.dispatch.lost_intents import WATCH_SECONDS, LostIntents
from execution.dispatch.send_journal import SendJournal
from execution.models import Order
from execution.runtime.trading_runtime import TradingRuntime
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.usefixtures("inline_commits", "alice")


@pytest.fixture
def entry(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime, tmp_path: Path,
    settings: Settings,
) -> Iterator[Order]:  # fmt: skip
    """Its claim is committed; then the process gets an error, and dispatches nothing."""
    settings.FILLCAST_VAR = tmp_path
    runtime._send_journal = SendJournal.open(journal_folder(), runtime.id)
    factories.signal(feed)
    factories.live_lease(runtime.id)
    failpoints.arm([Failpoint("claim.committed", "raise")])
    with pytest.raises(FailpointError):
        services.execute(factories.pending())
    failpoints.arm([])
    run("UPDATE execution_order SET submitted_at = submitted_at - interval '2 s'")
    order = Order.objects.get()
    assert order.status == "SUBMITTING"
    assert runtime.dispatcher.in_flight == 0, "its slot is free again"
    yield order
    runtime._send_journal.close()


def state(order: Order) -> tuple[str, str, int]:
    order.refresh_from_db()
    return order.status, order.reason, order.send_retries


def test_intent_of_failed_claim_is_due_again(
    entry: Order, runtime: TradingRuntime, broker: FakeBroker
) -> None:
    assert runtime.lost_intents.return_unsent(runtime.id) == 1
    assert state(entry) == ("PENDING", "WORKER_LOST_UNSENT", 1)
    assert runtime.lost_intents.return_unsent(runtime.id) == 0
    run("UPDATE execution_order SET due_at = clock_timestamp()")
    services.execute(factories.pending())
    assert runtime.dispatcher.wait_idle(30)
    assert broker.calls == [("submit", entry.client_order_id)]


def test_lost_intent_is_never_dispatched_later(
    feed: Feed, runtime: TradingRuntime, broker: FakeBroker, tmp_path: Path, settings: Settings
) -> None:
    """A thread that was only slow: its order is refused, and its slot is free again."""
    settings.FILLCAST_VAR = tmp_path
    runtime._send_journal = SendJournal.open(journal_folder(), runtime.id)
    factories.signal(feed)
    assert runtime.dispatcher.slots.reserve(1, urgent=False) == 1
    outgoing = factories.claim_all(runtime.id)
    run("UPDATE execution_order SET submitted_at = submitted_at - interval '2 s'")
    runtime.lost_intents.suspect()
    assert runtime.lost_intents.return_unsent(runtime.id) == 1
    runtime.dispatcher.dispatch(outgoing)
    assert runtime.dispatcher.in_flight == 0
    assert broker.calls == []
    runtime._send_journal.close()


@pytest.mark.parametrize("left", ["in the journal", "dispatched"])
def test_order_that_may_have_left_is_not_taken_back(
    entry: Order, runtime: TradingRuntime, left: str
) -> None:
    if left == "dispatched":
        runtime.dispatcher._dispatched_lanes[entry.pk, entry.fence] = ""
    else:
        runtime._send_journal.record(entry.pk, entry.fence)
    assert runtime.lost_intents.return_unsent(runtime.id) == 0
    assert state(entry)[0] == "SUBMITTING"


def test_without_a_journal_nothing_is_taken_back(entry: Order, runtime: TradingRuntime) -> None:
    runtime._send_journal.close()
    assert runtime.lost_intents.return_unsent(runtime.id) == 0
    assert state(entry)[0] == "SUBMITTING"


def test_without_an_error_no_order_is_looked_for(entry: Order, runtime: TradingRuntime) -> None:
    quiet = LostIntents(runtime.dispatcher, lambda *_: True)
    assert quiet.return_unsent(runtime.id) == 0
    assert runtime.lost_intents._until > WATCH_SECONDS
    assert state(entry)[0] == "SUBMITTING"


def test_order_that_is_just_claimed_is_left_to_its_thread(
    entry: Order, runtime: TradingRuntime
) -> None:
    run("UPDATE execution_order SET submitted_at = clock_timestamp()")
    assert runtime.lost_intents.return_unsent(runtime.id) == 0
    assert state(entry)[0] == "SUBMITTING"


def test_journal_finds_an_order_among_others_by_id_and_fence(
    tmp_path: Path, settings: Settings
) -> None:
    settings.FILLCAST_VAR = tmp_path
    journal = SendJournal.open(journal_folder(), "this")
    for number in range(1, 500):
        journal.record(number, 7)
    assert not journal.lacks(499, 7)
    assert journal.lacks(499, 8)
    assert journal.lacks(500, 7)
    assert journal.lacks(7, 1)
    journal.close()
    assert not journal.lacks(500, 7)
