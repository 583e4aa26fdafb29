"""A restored database: nothing is sent again, and orders in flight are looked up."""

from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.utils import timezone

from common.db.sql import run
from connections.models import Epoch
from execution.disaster_recovery.epochs import open_epoch
from execution.recovery import sweeps
from execution.runtime import trading_runtime
from execution.services import cancel_order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.disaster_recovery.actions import query_twice, restored, state_of
from tests.execution.fake_broker import FakeBroker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("alice")]


def test_waiting_entry_is_never_sent_after_a_restore(
    feed: Feed, broker: FakeBroker, runtime: trading_runtime.TradingRuntime
) -> None:
    factories.signal(feed)
    order = factories.order(leg="entry")
    epoch = restored()
    assert state_of(order) == ("EXPIRED", "RESTORED_UNSENT")
    assert epoch.treated["entries_ended"] == 1
    assert factories.events("order.expired") == [{"code": "RESTORED_UNSENT"}]
    assert factories.log_codes(order.pk)[-1] == ("RESTORED_UNSENT", "EXPIRED")
    assert factories.claim_all() == []
    assert broker.calls == []


def test_signal_published_in_an_open_epoch_is_skipped(feed: Feed) -> None:
    restored()
    factories.signal(feed)
    assert state_of(factories.order(leg="entry")) == ("SKIPPED", "ENTRIES_HALTED")


def test_rows_written_after_the_restore_are_trusted(feed: Feed) -> None:
    factories.signal(feed)
    order = factories.order(leg="entry")
    epoch = restored(since=order.created_at - timedelta(seconds=1))
    assert state_of(order) == ("PENDING", "")
    assert epoch.treated["entries_ended"] == 0


@pytest.mark.parametrize("status", ["SUBMITTING", "SUBMITTED", "UNKNOWN", "CANCEL_REQUESTED"])
def test_order_in_flight_is_unknown_and_looked_up(
    status: str, feed: Feed, broker: FakeBroker, runtime: trading_runtime.TradingRuntime
) -> None:
    """Filled in the lost period; the broker reports it."""
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    broker.fill_at_once(outgoing.request)
    factories.force("UPDATE execution_order SET status = %s", (status,))
    order = factories.order(leg="entry")
    restored()
    assert state_of(order) == ("UNKNOWN", "RESTORED")
    assert order.fence >= 1000
    sweeps.query_unknown_orders(runtime.dispatcher)
    order.refresh_from_db()
    assert (order.status, order.filled_quantity) == ("FILLED", 100)
    assert broker.accepted() == [outgoing.request.client_order_id[:-1]]


def test_partly_filled_order_is_known_again_without_new_reports(
    feed: Feed, broker: FakeBroker, runtime: trading_runtime.TradingRuntime
) -> None:
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, [broker.execute(broker.receive(outgoing.request), D(40))])
    order = factories.order(leg="entry")
    assert state_of(order)[0] == "PARTIALLY_FILLED"
    restored()
    assert state_of(order) == ("UNKNOWN", "RESTORED")
    sweeps.query_unknown_orders(runtime.dispatcher)
    assert state_of(order)[0] == "PARTIALLY_FILLED"
    order.refresh_from_db()
    assert order.filled_quantity == 40


def test_order_waiting_for_a_retry_is_looked_up_under_the_next_id(
    feed: Feed, broker: FakeBroker, runtime: trading_runtime.TradingRuntime
) -> None:
    """The backup has it rejected and due again; the lost rows sent it with the next attempt."""
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    order = factories.order(leg="entry")
    run("UPDATE execution_order SET status = 'PENDING', attempt = 1, due_at = clock_timestamp()")
    sent = factories.claim_all()[0].request
    broker.fill_at_once(sent)
    run(
        "UPDATE execution_order SET status = 'PENDING', client_order_id = %s",
        (outgoing.request.client_order_id,),
    )
    restored()
    sweeps.query_unknown_orders(runtime.dispatcher)
    order.refresh_from_db()
    assert (order.status, order.client_order_id) == ("FILLED", sent.client_order_id)


def test_absence_counts_only_when_no_process_can_still_be_sending(
    feed: Feed, runtime: trading_runtime.TradingRuntime
) -> None:
    factories.signal(feed)
    factories.claim_all()
    order = factories.order(leg="entry")
    open_epoch(Epoch.Cause.COMMAND)
    order.refresh_from_db()
    assert order.answer_by == Epoch.objects.get(released_at=None).answer_by
    run("UPDATE execution_order SET answer_by = answer_by + interval '60 seconds'")
    sweeps.query_unknown_orders(runtime.dispatcher)
    order.refresh_from_db()
    assert (order.status, order.absence_confirmations) == ("UNKNOWN", 0)
    query_twice()
    assert state_of(order) == ("FAILED", "NEVER_ARRIVED")


def test_decision_from_before_the_restore_is_ignored(feed: Feed) -> None:
    """A process from before the restore reports it as not sent; its fence is far behind."""
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    restored()
    factories.answer(outgoing, TimeoutError())
    assert state_of(factories.order(leg="entry")) == ("UNKNOWN", "RESTORED")


def test_ids_of_the_lost_rows_are_not_reused(feed: Feed) -> None:
    before = factories.signal(feed)
    order = factories.order(leg="entry")
    restored()
    after = factories.signal(feed)
    assert after.pk > before.pk + 10_000
    assert factories.order(signal=after).pk > order.pk + 1_000_000


def test_pending_cancel_stays_pending(feed: Feed, broker: FakeBroker) -> None:
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, broker.rest(outgoing.request))
    order = factories.order(leg="entry")
    cancel_order(order.pk)
    restored()
    order.refresh_from_db()
    assert (order.status, order.pending_action) == ("UNKNOWN", "CANCEL")


def test_item_missing_before_the_backup_is_checked_again(feed: Feed) -> None:
    position = factories.filled(factories.signal(feed))
    ExecutionPosition.objects.update(missing_since=timezone.now())
    restored()
    position.refresh_from_db()
    assert position.missing_since is None
