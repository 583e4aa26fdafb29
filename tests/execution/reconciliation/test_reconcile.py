"""Reconciliation: our positions against the broker's."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal as D
from typing import Any
from uuid import UUID

import pytest
from django.db import connections
from django.utils import timezone

from brokers.base import ReadFailed
from brokers.types import BrokerPosition, CloseCause, ConnectionSpec
from common.clocks import market_now
from common.reason_codes import Code
from connections.health.status_updates import mark_active, mark_errors
from connections.models import ConnectionHealth, ExecutionConnection
from execution.base.reconciliation_requests import request_reconciliation
from execution.models import AccountSyncState, DriftItem, Fill, Order
from execution.reconciliation.reconcile import reconcile, reconcile_new
from execution.runtime import broker_queries
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.factories import drift_items
from tests.execution.fake_broker import KIND, FakeBroker
from tests.hanging import beside
from tests.until import until

pytestmark = [pytest.mark.usefixtures("inline_commits", "runtime")]


def vanish(broker: FakeBroker, quantity: str = "100") -> None:
    """Close at the broker without a report."""
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(quantity))


def test_matching_positions_cause_no_drift(position: ExecutionPosition) -> None:
    assert reconcile() == 0
    assert drift_items() == []


def test_position_missing_once_stays_open(position: ExecutionPosition, broker: FakeBroker) -> None:
    vanish(broker)
    reconcile()
    position.refresh_from_db()
    assert (position.quantity, drift_items()) == (100, [("POSITION_MISSING", "OPEN")])
    reconcile()  # at once: does not count as the second check
    position.refresh_from_db()
    assert position.quantity == 100


def test_position_missing_twice_is_closed_at_the_latest_price(
    position: ExecutionPosition, broker: FakeBroker, alice: ExecutionConnection
) -> None:
    vanish(broker)
    reconcile()
    factories.quote(alice, "1.10500")
    factories.pass_time(6)
    reconcile()
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "external_close")
    assert position.realized_pnl == D("0.5")
    fill = Fill.objects.get(order__leg="external-1")
    assert (fill.inferred, fill.price, fill.quantity) == (True, D("1.105"), 100)
    reconcile()
    assert drift_items() == [("POSITION_MISSING", "RESOLVED")]


def test_first_check_requests_the_second(position: ExecutionPosition, broker: FakeBroker) -> None:
    vanish(broker)
    reconcile()
    asked = len(broker.calls)
    reconcile_new()  # too soon: no conclusion possible
    assert len(broker.calls) == asked
    assert AccountSyncState.objects.filter(reconcile_requested_at__isnull=False).exists()
    factories.pass_time(6)
    reconcile_new()
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "external_close")
    assert not AccountSyncState.objects.filter(reconcile_requested_at__isnull=False).exists()


def test_activity_between_two_reads_restarts_the_count(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    vanish(broker)
    reconcile()
    factories.pass_time(6)
    ExecutionPosition.objects.update(last_activity_at=DriftItem.objects.get().seen_at)
    reconcile()
    position.refresh_from_db()
    assert position.quantity == 100
    factories.pass_time(6)
    reconcile()
    position.refresh_from_db()
    assert position.quantity == 0


def test_position_that_reappears_is_no_longer_missing(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    vanish(broker)
    reconcile()
    broker.tickets[0].held = D(100)
    factories.pass_time(6)
    reconcile()
    broker.tickets[0].held = D(0)
    factories.pass_time(6)
    reconcile()
    position.refresh_from_db()
    assert position.quantity == 100


def test_failed_read_closes_nothing(position: ExecutionPosition, broker: FakeBroker) -> None:
    vanish(broker)
    reconcile()
    broker.reads_fail = True
    factories.pass_time(6)
    assert reconcile() == 0
    position.refresh_from_db()
    assert position.quantity == 100


def test_answering_one_of_two_accounts_is_reconciled(
    position: ExecutionPosition, broker: FakeBroker, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = factories.account(feed)
    real = broker.positions

    async def half(spec):  # type: ignore[no-untyped-def]
        if spec.connection_id == str(other.pk):
            raise ReadFailed(Code.BROKER_UNREACHABLE)
        return await real(spec)

    monkeypatch.setattr(broker, "positions", half)
    ConnectionHealth.objects.update(reconciled_at=None)
    vanish(broker)
    assert reconcile() == 0  # counted are differences of tickets; ours that lack one are marked
    assert drift_items() == [("POSITION_MISSING", "OPEN")]
    read = ConnectionHealth.objects.filter(reconciled_at__isnull=False)
    assert list(read.values_list("connection_id", flat=True)) == [position.connection_id]


def test_unread_event_stream_prevents_reconciliation(
    position: ExecutionPosition, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(limit: int, after: str = ""):  # type: ignore[no-untyped-def]
        raise ReadFailed(Code.BROKER_UNREACHABLE)

    monkeypatch.setattr(broker, "events", deaf)
    vanish(broker)
    reconcile()
    assert drift_items() == []


@pytest.mark.django_db(transaction=True)
def test_reports_of_the_broker_are_applied_first(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    broker.publish(broker.close_at_broker(broker.tickets[0], CloseCause.STOP_LOSS, D(100)))
    assert reconcile() == 0
    position.refresh_from_db()
    assert (position.quantity, position.close_reason, drift_items()) == (0, "sl", [])
    assert broker.news == {}


def test_order_in_flight_keeps_a_missing_position_open(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    factories.close_signal(position.signal)
    factories.claim_all()
    vanish(broker)
    for _ in range(2):
        factories.pass_time(6)
        reconcile()
    position.refresh_from_db()
    assert (position.quantity, drift_items()) == (100, [])


def test_unknown_position_is_drift_and_is_reported(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    request = broker.tickets[0].request
    stranger = broker.receive(request)
    broker.execute(stranger)
    assert reconcile() == 1
    reconcile()
    item = DriftItem.objects.get()
    assert (item.kind, item.key, item.evidence["ours"], item.evidence["theirs"]["quantity"]) == (
        "UNKNOWN_POSITION", stranger.number, None, "100",
    )  # fmt: skip
    assert [event["kind"] for event in factories.events("drift.found")] == ["UNKNOWN_POSITION"]


def test_position_with_an_entry_in_flight_is_not_unknown(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    broker.fill_at_once(outgoing.request)
    assert reconcile() == 0
    assert drift_items() == []


def test_position_closed_while_the_broker_is_read_is_not_unknown(
    position: ExecutionPosition, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.close_signal(position.signal)
    (outgoing,) = factories.claim_all()
    real = broker_queries.snapshots

    def read_then_fill(accounts: Sequence[Any]) -> Iterator[dict[UUID, broker_queries.Snapshot]]:
        for read in real(accounts):
            factories.answer(outgoing, broker.fill_at_once(outgoing.request))
            yield read

    monkeypatch.setattr(broker_queries, "snapshots", read_then_fill)
    assert reconcile() == 0
    assert drift_items() == []
    position.refresh_from_db()
    assert position.quantity == 0


def test_different_quantity_is_drift(position: ExecutionPosition, broker: FakeBroker) -> None:
    vanish(broker, "30")
    assert reconcile() == 1
    evidence = DriftItem.objects.get().evidence
    assert (evidence["ours"]["quantity"], evidence["theirs"]["quantity"]) == ("100", "70")
    broker.tickets[0].held = D(100)
    reconcile()
    assert drift_items() == [("QUANTITY_DIFFERS", "RESOLVED")]


def test_no_entry_is_sent_before_the_first_reconciliation(
    alice: ExecutionConnection, feed: Feed
) -> None:
    ConnectionHealth.objects.update(reconciled_at=None)
    factories.signal(feed)
    assert Order.objects.get().reason == "CONNECTION_NOT_RECONCILED"
    reconcile_new()
    factories.signal(feed)
    assert Order.objects.latest("id").status == "PENDING"


def test_entry_published_before_a_lost_connection_waits_for_reconciliation(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed)
    ConnectionHealth.objects.update(reconciled_at=None)
    assert factories.claim_all() == []
    assert Order.objects.get().status == "PENDING"
    reconcile_new()
    factories.pass_time(5)
    assert len(factories.claim_all()) == 1


def test_entry_that_waits_for_reconciliation_expires_with_its_signal(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed, valid_until=market_now() + timedelta(seconds=30))
    ConnectionHealth.objects.update(reconciled_at=None)
    factories.pass_time(31)
    assert factories.claim_all() == []
    assert (Order.objects.get().status, Order.objects.get().reason) == ("EXPIRED", "SIGNAL_EXPIRED")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", ["it broke", "its settings were tested"])
def test_read_begun_before_a_lost_connection_does_not_allow_entries(
    position: ExecutionPosition,
    broker: FakeBroker,
    alice: ExecutionConnection,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    def breaks_and_comes_back() -> None:
        try:
            if what == "it broke":
                mark_errors([(alice.pk, "The line is cut.")])
            else:
                now = timezone.now()
                mine = ConnectionHealth.objects.filter(pk=alice.pk)
                mine.update(status="UNTESTED", reconciled_at=None)
                mine.update(last_tested_at=now)
            mark_active([alice.pk])
        finally:
            connections.close_all()

    real = broker.positions

    async def positions(spec: ConnectionSpec) -> list[BrokerPosition]:
        found = await real(spec)
        with ThreadPoolExecutor(1) as another:
            another.submit(breaks_and_comes_back).result()
        return found

    with monkeypatch.context() as slowly:
        slowly.setattr(broker, "positions", positions)
        reconcile()
    assert ConnectionHealth.objects.get(pk=alice.pk).reconciled_at is None
    reconcile_new()
    assert ConnectionHealth.objects.get(pk=alice.pk).reconciled_at is not None


def test_repeatedly_failing_accounts_do_not_starve_others(
    feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four accounts with requested reconciliation fail; three are reconciled at once."""
    monkeypatch.setattr("execution.reconciliation.reconcile.FIRST_BATCH", 3)
    failing = [factories.account(feed).pk for _ in range(4)]
    request_reconciliation(failing)
    new = factories.account(feed)
    ConnectionHealth.objects.filter(connection=new).update(reconciled_at=None)
    real = broker.positions

    async def positions(spec: ConnectionSpec) -> list[BrokerPosition]:
        if spec.connection_id != str(new.pk):
            raise ReadFailed(Code.BROKER_UNREACHABLE)
        return await real(spec)

    monkeypatch.setattr(broker, "positions", positions)
    reconcile_new()
    assert ConnectionHealth.objects.get(pk=new.pk).reconciled_at is not None
    asked = [key for call, key in broker.calls if call == "positions"]
    assert AccountSyncState.objects.filter(reconcile_requested_at__isnull=False).count() == 4
    assert len(asked) == len(set(asked)), "each once"


def test_account_is_reconciled_again_when_requested_during_a_round(
    feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round of thousands of accounts takes minutes: a recheck does not wait for its end."""
    monkeypatch.setattr("execution.reconciliation.reconcile.FIRST_BATCH", 2)
    for _ in range(5):
        factories.account(feed)
    ConnectionHealth.objects.update(reconciled_at=None)
    turns: list[str] = []

    def request_again() -> set[str]:
        """Called for each batch; the second one requests the first account again."""
        turns.append(first := read()[0] if read() else "")
        if len(turns) == 2:
            request_reconciliation([UUID(first)])
        return set()

    def read() -> list[str]:
        return [key for call, key in broker.calls if call == "positions"]

    monkeypatch.setattr("execution.reconciliation.reconcile.drain_before_comparison", request_again)
    reconcile_new()
    counts = sorted(read().count(key) for key in set(read()))
    assert counts == [1, 1, 1, 1, 2]
    assert read().count(turns[1]) == 2
    assert not AccountSyncState.objects.filter(reconcile_requested_at__isnull=False).exists()


def test_accounts_with_unreadable_events_do_not_end_a_round(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("execution.reconciliation.reconcile.FIRST_BATCH", 2)
    unheard = iter([{KIND}])
    monkeypatch.setattr(
        "execution.reconciliation.reconcile.drain_before_comparison", lambda: next(unheard, set())
    )
    for _ in range(5):
        factories.account(feed)
    ConnectionHealth.objects.update(reconciled_at=None)
    reconcile_new()
    assert ConnectionHealth.objects.filter(reconciled_at__isnull=False).count() == 3


@pytest.mark.django_db(transaction=True)
def test_answering_account_is_reconciled_while_another_hangs(
    feed: Feed, broker: FakeBroker
) -> None:
    many = [factories.account(feed) for _ in range(20)]
    hung = factories.account(feed)
    ConnectionHealth.objects.update(reconciled_at=None)
    broker.hung = {str(hung.pk)}
    clean = ConnectionHealth.objects.filter(reconciled_at__isnull=False)
    comparing = beside(reconcile_new)
    try:
        until(lambda: clean.count() == len(many))
        assert comparing.is_alive()
    finally:
        broker.hang.end()
        comparing.join(120)
    assert clean.count() == 21
