"""A restored database: the brokers' positions decide which exits go and which drift is found."""

from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.utils import timezone

from brokers.types import CloseCause
from common.db.sql import run
from common.errors import ConflictError
from common.reason_codes import Code
from connections.models import ConnectionHealth, Epoch, ExecutionConnection
from execution.audit.counters import audit
from execution.disaster_recovery.epochs import open_epoch, process_open_epoch, release_epoch
from execution.models import DriftItem
from execution.reconciliation import decisions as drift_decisions
from execution.reconciliation.reconcile import reconcile
from execution.recovery import sweeps
from execution.runtime import trading_runtime
from execution.services import close_position, retry_order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.disaster_recovery.actions import issue_counts, restored, state_of
from tests.execution.fake_broker import FakeBroker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("alice", "runtime")]


class TestExits:
    def test_waiting_exit_is_sent_when_the_broker_still_holds_all(
        self, feed: Feed, broker: FakeBroker
    ) -> None:
        position = factories.filled(factories.signal(feed))
        close_position(position.pk)
        order = factories.order(leg="close-1")
        epoch = restored()
        assert state_of(order) == ("FAILED", "RESTORED_EXIT")
        assert process_open_epoch() == []  # not reconciled yet
        assert issue_counts(epoch)["EXITS"] == 1
        factories.pass_time(1)
        reconcile()
        assert process_open_epoch() == [order.pk]
        assert state_of(order) == ("PENDING", "RESTORE_CLEARED")
        factories.fill_all()
        position.refresh_from_db()
        assert position.quantity == broker.tickets[0].held == 0
        assert process_open_epoch() == []

    def test_exit_that_was_sent_before_stays(self, feed: Feed, broker: FakeBroker) -> None:
        """The exit of one half was sent: sent again it would close the other half."""
        position = factories.filled(factories.signal(feed))
        close_position(position.pk, fraction=D("0.5"))
        order = factories.order(leg="close-1")
        broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(50))
        epoch = restored()
        factories.pass_time(1)
        reconcile()
        assert process_open_epoch() == []
        assert state_of(order) == ("FAILED", "RESTORED_EXIT")
        assert broker.tickets[0].held == 50
        assert "EXITS" in issue_counts(epoch)
        with pytest.raises(ConflictError):
            retry_order(order.pk)

    def test_two_exits_of_a_position_never_close_more_than_it_holds(self, feed: Feed) -> None:
        position = factories.filled(factories.signal(feed))
        close_position(position.pk, fraction=D("0.5"))
        close_position(position.pk, fraction=D("0.5"))
        restored()
        factories.pass_time(1)
        reconcile()
        assert len(process_open_epoch()) == 2
        position.refresh_from_db()
        assert position.reserved == position.quantity == 100

    def test_new_exit_waits_for_the_first_reconciliation(self, feed: Feed) -> None:
        position = factories.filled(factories.signal(feed))
        restored()
        close_position(position.pk)
        assert factories.claim_all() == []
        assert state_of(factories.order(leg="close-1")) == ("PENDING", "CONNECTION_NOT_RECONCILED")
        reconcile()
        factories.pass_time(2)
        assert [one.request.reduce_only for one in factories.claim_all()] == [True]


def test_read_begun_while_others_may_send_does_not_count() -> None:
    epoch = open_epoch(Epoch.Cause.COMMAND)
    Epoch.objects.update(answer_by=timezone.now() + timedelta(hours=1))
    reconcile()
    assert not ConnectionHealth.objects.filter(reconciled_at__isnull=False).exists()
    assert {"WAIT", "UNCOMPARED"} <= set(issue_counts(epoch))
    Epoch.objects.update(answer_by=timezone.now())
    reconcile()
    assert ConnectionHealth.objects.filter(reconciled_at__isnull=False).count() == 1


def test_forgotten_order_at_the_broker_is_drift_with_candidates(
    feed: Feed, broker: FakeBroker, runtime: trading_runtime.TradingRuntime
) -> None:
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    broker.fill_at_once(outgoing.request)
    order = factories.order(leg="entry")  # as the backup has it: nothing sent
    run(
        "UPDATE execution_order SET status = 'PENDING', client_order_id = NULL, quantity = NULL,"
        " submitted_at = NULL, fence = 0"
    )
    epoch = restored()
    process_open_epoch()
    forgotten = DriftItem.objects.get(kind=Code.FORGOTTEN_ORDER.value)
    assert forgotten.key == outgoing.request.client_order_id
    assert forgotten.evidence["may_be"] == [f"O-{order.pk}"]
    reconcile()
    held = DriftItem.objects.get(kind=Code.UNKNOWN_POSITION.value)
    assert held.evidence["client_order_id"] == outgoing.request.client_order_id
    assert issue_counts(epoch) == {"DRIFT": 2}
    with pytest.raises(ConflictError) as refused:
        release_epoch(by=None)
    assert refused.value.code == Code.EPOCH_OPEN
    process_open_epoch()
    assert DriftItem.objects.filter(kind=Code.FORGOTTEN_ORDER.value).count() == 1

    drift_decisions.relink(held.pk, by=None, order_id=order.pk)
    sweeps.query_unknown_orders(runtime.dispatcher)
    assert state_of(order)[0] == "FILLED"
    position = ExecutionPosition.objects.get(signal=order.signal)
    assert (position.quantity, position.broker_position_id) == (100, broker.tickets[0].number)
    factories.pass_time(1)
    reconcile()
    process_open_epoch()
    assert issue_counts(epoch) == {}
    release_epoch(by=None)
    assert len(broker.accepted()) == 1
    assert audit().ok


def test_unreadable_books_are_read_later(broker: FakeBroker) -> None:
    epoch = restored()
    broker.reads_fail = True
    with pytest.raises(Exception, match="BROKER_UNREACHABLE"):
        process_open_epoch()
    assert issue_counts(epoch)["BOOKS"] == 1
    broker.reads_fail = False
    process_open_epoch()
    assert "BOOKS" not in issue_counts(epoch)


def test_owners_own_position_does_not_delay_the_release(alice: ExecutionConnection) -> None:
    epoch = restored()
    for key, client_order_id in (("1", "other123"), ("2", "dev4567"), ("3", "")):
        DriftItem.objects.create(
            kind="UNKNOWN_POSITION",
            connection=alice,
            key=key,
            evidence={"client_order_id": client_order_id},
        )
    assert issue_counts(epoch)["DRIFT"] == 2
