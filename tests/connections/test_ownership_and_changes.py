"""An account that is edited, or has other credentials, while it is tested or another claims it."""

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from brokers.base import ReadFailed
from common.db.sql import rows as run_rows
from common.reason_codes import Code
from connections import services
from connections.health import account_polling
from connections.models import ConnectionHealth
from connections.selectors import due_tests
from tests.connections.claiming import BLOCKED, claim, connect, failed, health_of, run
from tests.connections.conftest import elsewhere
from tests.connections.fake_brokers import Broker
from tests.until import until
from users.models import User

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.mark.django_db(transaction=True)
def test_test_of_changed_settings_claims_nothing(alice: User, broker: Broker) -> None:
    row = connect(alice)

    def change() -> None:
        with elsewhere(
            lambda: services.set_credentials(row.pk, by=alice, values={"password": "new"})
        ) as done:
            pass
        assert done == [None]

    broker.on_call = change
    run(row, broker)
    assert claim(row) == ""
    assert (health_of(row).status, health_of(row).needs_test) == ("UNTESTED", True)
    assert due_tests(5) == [row.pk]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", ["settings", "credentials"])
def test_change_counts_despite_clock_behind_test(alice: User, broker: Broker, what: str) -> None:
    row = connect(alice)

    def change() -> None:
        if what == "settings":
            services.update_connection(row.pk, by=alice, settings={"update_interval_seconds": 5})
        else:
            services.set_credentials(row.pk, by=alice, values={"password": "new"})
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        ConnectionHealth.objects.filter(pk=row.pk).update(test_requested_at=long_ago)

    def meanwhile() -> None:
        with elsewhere(change) as done:
            pass
        assert done == [None]

    broker.on_call = meanwhile
    run(row, broker)
    assert (claim(row), health_of(row).needs_test) == ("", True)
    assert due_tests(5) == [row.pk]


def test_test_times_use_database_clock(
    alice: User, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = connect(alice)
    for ahead in (timedelta(hours=1), timedelta(hours=-1)):
        now = datetime.now(UTC) + ahead
        with monkeypatch.context() as here:
            here.setattr("django.utils.timezone.now", lambda now=now: now)
            services.request_test(row.pk)
        assert due_tests(5) == [row.pk]
        run(row, broker)
        assert due_tests(5) == []


def test_changed_settings_hold_no_claim_until_tested(
    alice: User, mallory: User, broker: Broker
) -> None:
    """It may be on another server now: the claim of another user is no error of it."""
    moved, now = connect(alice), connect(mallory)
    run(moved, broker)
    services.update_connection(moved.pk, by=alice, name="Mine")
    assert claim(moved) == "paper|||7|"
    services.update_connection(moved.pk, by=alice, settings={"update_interval_seconds": 5})
    assert claim(moved) == ""
    assert failed(run(now, broker)) == []
    assert health_of(moved).status == "UNTESTED"


@pytest.mark.django_db(transaction=True)
def test_test_ending_during_edit_waits_without_health_lock(alice: User, broker: Broker) -> None:
    """Who edits has the connection's row, and changes its health next."""
    row = connect(alice)
    with ExitStack() as testing_it, transaction.atomic():
        services.update_connection(row.pk, by=alice, name="Mine")
        done = testing_it.enter_context(elsewhere(lambda: run(row, broker)))
        until(lambda: bool(run_rows(BLOCKED)) or bool(done))
        assert not done
        free = ConnectionHealth.objects.select_for_update(no_key=True, nowait=True)
        assert free.get(pk=row.pk).status == "UNTESTED"
        services.set_credentials(row.pk, by=alice, values={"password": "new"})
    assert (claim(row), health_of(row).status) == ("", "UNTESTED")
    assert due_tests(5) == [row.pk]


def test_poll_does_not_clear_need_for_test(alice: User, broker: Broker) -> None:
    """A new account whose broker was away when it was tested: read again, and then tested."""
    row = connect(alice)
    broker.checks = ReadFailed(Code.BROKER_UNREACHABLE)
    services.request_test(row.pk)
    run(row, broker)
    assert due_tests(5) == []
    assert account_polling.refresh_due_accounts(adapter=broker) == (
        0,
        0,
    )  # it is in doubt: looked at again
    services.mark_active([row.pk])
    assert health_of(row).status == "ERROR"
    assert due_tests(5) == [row.pk]
    broker.checks = []
    assert failed(run(row, broker)) == []
    assert health_of(row).status == "ACTIVE"


@pytest.mark.django_db(transaction=True)
def test_edited_claim_holder_keeps_its_own_error(
    alice: User, mallory: User, broker: Broker
) -> None:
    """It is on another server now: the claim of another user does not concern it."""
    moved, now = connect(alice), connect(mallory)
    run(moved, broker)
    with ExitStack() as testing_it, transaction.atomic():
        services.update_connection(moved.pk, by=alice, settings={"update_interval_seconds": 5})
        done = testing_it.enter_context(elsewhere(lambda: run(now, broker)))
        until(lambda: bool(run_rows(BLOCKED)) or bool(done))
        assert not done
    assert failed(done[0]) == []
    assert (claim(moved), claim(now)) == ("", "paper|||7|")
    assert (health_of(moved).status, health_of(moved).last_error) == ("UNTESTED", "")


@pytest.mark.django_db(transaction=True)
def test_failed_test_of_replaced_credentials_is_ignored(alice: User, broker: Broker) -> None:
    """Their test was asked for before the former one's began, and was seen only after it."""
    row = connect(alice)
    long_ago = datetime.now(UTC) - timedelta(hours=1)

    def change() -> None:
        services.set_credentials(row.pk, by=alice, values={"password": "new"})
        ConnectionHealth.objects.filter(pk=row.pk).update(test_requested_at=long_ago)

    def meanwhile() -> None:
        with elsewhere(change) as done:
            pass
        assert done == [None]

    broker.on_call, broker.checks = meanwhile, ReadFailed(Code.CREDENTIALS_REFUSED)
    assert failed(run(row, broker)) == ["broker"]
    health = health_of(row)
    assert (health.status, health.last_error, health.last_test) == ("UNTESTED", "", [])
    assert due_tests(5) == [row.pk]
