"""Deferred entries: why and since when they wait, and how that ends."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from brokers.base import NotSent
from brokers.types import BrokerPosition
from common.db.sql import rows, run
from common.reason_codes import Code
from common.sealing import new_private_key, public_key_of
from connections import services
from connections.health.account_polling import refresh_due_accounts
from connections.health.probes import retry_failed
from connections.health.status_updates import mark_active, mark_errors, mark_failures
from connections.models import ConnectionHealth, ExecutionConnection
from execution.disaster_recovery import restore_detector
from execution.models import Order
from execution.preview import preview
from execution.reconciliation.reconcile import reconcile
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import execute
from execution.submission.outgoing import Outgoing
from signals.models import Feed, OrderType
from tests.connections.fake_brokers import account
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.pauses import Pause, pause_after

pytestmark = [pytest.mark.usefixtures("inline_commits", "alice")]
PASSES = {
    "CONNECTION_TEST_PENDING": "status = 'UNTESTED', last_tested_at = '-infinity',"
    " test_requested_at = clock_timestamp()",
    "ACCOUNT_ANSWER_UNUSABLE": "status = 'ERROR', error_code = 'ACCOUNT_ANSWER_UNUSABLE'",
    "CONNECTION_UNREACHABLE": "status = 'ERROR', unreachable_at = clock_timestamp()",
    "ACCOUNT_TRADING_DISABLED": "status = 'ERROR', error_code = 'ACCOUNT_TRADING_DISABLED'",
    "CIRCUIT_OPEN": "circuit_open_until = clock_timestamp() + interval '1 minute'",
    "CONNECTION_NOT_RECONCILED": "reconciled_at = NULL",
}
PERSONS = {
    "CONNECTION_ERROR": "status = 'ERROR', unreachable_at = NULL",
    "CONNECTION_UNTESTED": "status = 'UNTESTED'",
}


def set_health(what: str) -> None:
    run(f"UPDATE connections_connectionhealth SET {what}")


def due_in() -> float:
    (row,) = rows("SELECT extract(epoch FROM due_at - clock_timestamp())::float AS s"
                  " FROM execution_order")  # fmt: skip
    return float(row.s)


def wait_after(outgoing: Outgoing) -> Pause:
    """Answer that the rate limit refused it; return for how long its order then waits."""
    return pause_after(lambda: factories.answer(outgoing, NotSent(Code.RATE_LIMITED)))


@pytest.mark.parametrize("code", PASSES)
def test_entry_waits_for_a_temporary_condition_with_its_code(feed: Feed, code: str) -> None:
    set_health(PASSES[code])
    signal = factories.signal(feed)
    order = Order.objects.get()
    assert (order.status, order.reason, signal.candidate_count) == ("PENDING", code, 1)
    assert order.waiting_since is not None
    assert factories.log_codes(order.pk) == [(code, "PENDING")]
    factories.pass_time(6)
    assert factories.claim_all() == []
    since = order.waiting_since
    order.refresh_from_db()
    assert (order.reason, order.send_retries, order.waiting_since) == (code, 0, since)
    assert 10 < due_in() <= 20  # no busy loop
    assert factories.log_codes(order.pk) == [(code, "PENDING")]


def test_entry_waits_for_a_requested_test_of_an_account_in_error(
    alice: ExecutionConnection, feed: Feed
) -> None:
    set_health(PERSONS["CONNECTION_ERROR"])
    services.request_test(alice.pk)
    factories.signal(feed)
    assert Order.objects.get().reason == "CONNECTION_TEST_PENDING"
    run("UPDATE connections_connectionhealth SET last_tested_at = clock_timestamp()")
    factories.signal(feed)  # the test has failed
    order = Order.objects.order_by("pk").last()
    assert order is not None
    assert (order.status, order.reason) == ("SKIPPED", "CONNECTION_ERROR")


@pytest.mark.parametrize("change", ["settings", "credentials"])
def test_entry_waits_for_the_test_of_an_edited_account(
    alice: ExecutionConnection, feed: Feed, settings: Any, change: str
) -> None:
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(new_private_key())
    if change == "settings":
        services.update_connection(alice.pk, by=None, settings={"update_interval_seconds": 2})
    else:
        services.set_credentials(alice.pk, by=None, values={"password": "another"})
    signal = factories.signal(feed)
    order = Order.objects.get()
    assert (order.status, order.reason) == ("PENDING", "CONNECTION_TEST_PENDING")
    assert [one.code for one in preview(signal).reasons] == ["CONNECTION_TEST_PENDING"]
    factories.pass_time(6)
    assert factories.claim_all() == []  # never before its test


@pytest.mark.usefixtures("running_clock")
def test_entry_waits_for_an_account_with_an_unusable_answer(
    feed: Feed, runtime: TradingRuntime, broker: FakeBroker
) -> None:
    usable = account()
    broker.state = replace(usable, balance=Decimal(10) ** 30)
    refresh_due_accounts(older_than_seconds=-1)
    assert "cannot be used" in ConnectionHealth.objects.get().last_error
    factories.signal(feed)
    order = Order.objects.get()
    assert (order.status, order.reason) == ("PENDING", "ACCOUNT_ANSWER_UNUSABLE")
    broker.state = usable
    assert retry_failed() == (0, 0)  # not at once
    run("UPDATE connections_connectionhealth SET read_after = clock_timestamp()")
    assert retry_failed() == (1, 0)
    reconcile()
    assert due_in() <= 0
    assert len(factories.claim_all()) == 1


@pytest.mark.parametrize("code", PERSONS)
def test_entry_is_skipped_when_a_person_must_act(feed: Feed, code: str) -> None:
    set_health(PERSONS[code])
    factories.signal(feed)
    order = Order.objects.get()
    assert (order.status, order.reason, order.waiting_since) == ("SKIPPED", code, None)


def test_reconciliation_wakes_entries_that_wait_for_it(feed: Feed, runtime: TradingRuntime) -> None:
    set_health(PASSES["CONNECTION_NOT_RECONCILED"])
    factories.signal(feed)
    assert due_in() > 3
    reconcile()
    assert ConnectionHealth.objects.get().reconciled_at is not None
    assert due_in() <= 0
    assert len(factories.claim_all()) == 1
    order = Order.objects.get()
    assert (order.status, order.waiting_since) == ("SUBMITTING", None)


@pytest.mark.django_db(transaction=True)
def test_lost_answer_during_reconciliation_does_not_void_it(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime, broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    set_health(PASSES["CONNECTION_NOT_RECONCILED"])
    factories.signal(feed)

    async def positions(spec: object) -> list[BrokerPosition]:
        await asyncio.to_thread(mark_failures, [(alice.pk, "One answer was lost.")])
        return []

    monkeypatch.setattr(broker, "positions", positions)
    reconcile()
    health = ConnectionHealth.objects.get()
    assert health.last_error == "One answer was lost."
    assert health.reconciled_at is not None
    assert due_in() <= 0


@pytest.mark.django_db(transaction=True)
def test_reconciliation_during_which_the_account_failed_does_not_count(
    alice: ExecutionConnection,
    runtime: TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_health(PASSES["CONNECTION_NOT_RECONCILED"])

    async def positions(spec: object) -> list[BrokerPosition]:
        await asyncio.to_thread(mark_errors, [(alice.pk, "The login was refused.")])
        await asyncio.to_thread(mark_active, [alice.pk])
        return []

    monkeypatch.setattr(broker, "positions", positions)
    reconcile()
    assert ConnectionHealth.objects.get().reconciled_at is None
    monkeypatch.undo()
    reconcile()
    assert ConnectionHealth.objects.get().reconciled_at is not None


@pytest.mark.usefixtures("running_clock")
def test_entries_wait_while_the_broker_pauses_trading(
    feed: Feed, runtime: TradingRuntime, broker: FakeBroker
) -> None:
    allowed = account()
    broker.state = replace(allowed, trading_allowed=False)
    run("UPDATE connections_connectionhealth SET unreachable_at = clock_timestamp(),"
        " last_error_at = clock_timestamp() - interval '6 seconds'")  # fmt: skip
    retry_failed()
    factories.signal(feed)
    order = Order.objects.get()
    assert (order.status, order.reason) == ("PENDING", "ACCOUNT_TRADING_DISABLED")
    assert retry_failed() == (0, 0)  # not at once
    broker.state = allowed
    run("UPDATE connections_connectionhealth SET read_after = clock_timestamp()")
    assert retry_failed() == (1, 0)
    reconcile()
    assert due_in() <= 0
    assert len(factories.claim_all()) == 1


def test_orders_deferred_by_the_restore_check_state_it(
    feed: Feed, runtime: TradingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.signal(feed)
    order = Order.objects.get()
    monkeypatch.setattr(restore_detector._detector, "is_suspect", True)
    assert pause_after(lambda: execute([order.pk])).overlaps(0, 1)
    order.refresh_from_db()
    assert (order.status, order.reason) == ("PENDING", "RESTORE_CHECK")
    assert order.waiting_since is not None
    assert factories.log_codes(order.pk)[-1] == ("RESTORE_CHECK", "PENDING")
    monkeypatch.undo()
    factories.pass_time(2)
    execute([order.pk])
    assert runtime.dispatcher.wait_idle(60)
    order.refresh_from_db()
    assert order.submitted_at is not None


def test_market_entry_that_waited_a_minute_ends_with_its_waiting_code(feed: Feed) -> None:
    set_health(PASSES["CONNECTION_NOT_RECONCILED"])
    factories.signal(feed)
    factories.pass_time(50)
    assert factories.claim_all() == []
    assert 0 < due_in() < 13  # when it is too old, and no later
    factories.pass_time(12)
    assert factories.claim_all() == []
    order = Order.objects.get()
    assert (order.status, order.reason) == ("DENIED", "CONNECTION_NOT_RECONCILED")
    assert order.detail == "The signal became older than 60 s while the order waited."


def test_market_entry_expires_after_a_minute_and_limit_entry_does_not(feed: Feed) -> None:
    factories.signal(feed)
    factories.signal(feed, order_type=OrderType.LIMIT, open_price=Decimal("1.09950"))
    factories.pass_time(62)
    assert len(factories.claim_all()) == 1
    market, limit = Order.objects.order_by("pk")
    assert (market.status, market.reason) == ("DENIED", "SIGNAL_TOO_OLD")
    assert limit.status == "SUBMITTING"


def test_deferred_limit_entry_keeps_its_since_and_is_retried_less_often(feed: Feed) -> None:
    factories.signal(feed, order_type="LIMIT", open_price=Decimal("1.095"))
    waits = []
    for seconds in (1.1, 10, 30, 60):
        (outgoing,) = factories.claim_all()
        waits.append(wait_after(outgoing))
        factories.pass_time(seconds)
        run("UPDATE execution_order SET waiting_since = waiting_since - make_interval(secs => %s)",
            (seconds,))  # fmt: skip
    order = Order.objects.get()
    (waited,) = rows("SELECT extract(epoch FROM clock_timestamp() - waiting_since)::float AS s"
                     " FROM execution_order")  # fmt: skip
    assert waited.s > 101
    assert (order.reason, order.send_retries) == ("RATE_LIMITED", 0)
    for wanted, wait in zip([1, 1, 3, 10], waits, strict=True):
        assert wait.overlaps(wanted - 0.5, wanted + 0.5)


def test_deferred_market_entry_is_retried_each_second_and_keeps_its_since(feed: Feed) -> None:
    factories.signal(feed)
    since = set()
    for _ in range(3):
        (outgoing,) = factories.claim_all()
        assert wait_after(outgoing).overlaps(0.5, 1)
        since.add(Order.objects.get().waiting_since)
        run("UPDATE execution_order SET due_at = clock_timestamp()")
    assert len(since) == 1
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, factories.fake_broker().fill_at_once(outgoing.request))
    assert Order.objects.get().waiting_since is None
