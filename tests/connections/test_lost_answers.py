"""A lost answer is no error yet, and who is in error is looked at again in time."""

from itertools import pairwise

import pytest
from django.utils import timezone

from brokers.base import ReadFailed
from common.reason_codes import Code
from connections import selectors, services
from connections.health import account_polling, connection_checks, probes, status_updates
from connections.models import ConnectionHealth
from tests.connections import make
from tests.connections.failing import age, connect, fail, kinds, status
from tests.connections.fake_brokers import Broker, account

pytestmark = pytest.mark.django_db


@pytest.fixture
def broker() -> Broker:
    return Broker()


def test_one_lost_answer_does_not_exclude_account_from_next_signal() -> None:
    (row,) = connect()
    fail(row)
    assert row.can_execute_trades()
    assert kinds() == []
    noted = ConnectionHealth.objects.get(pk=row.pk)
    assert (noted.last_error, noted.consecutive_failures) == ("No answer.", 1)


def test_three_consecutive_lost_answers_are_an_error() -> None:
    (row,) = connect()
    fail(row)
    fail(row)
    assert status(row) == "ACTIVE"
    fail(row)
    assert (status(row), kinds()) == ("ERROR", ["connection.error"])
    assert ConnectionHealth.objects.get(pk=row.pk).reconciled_at is None


def test_second_lost_answer_after_30_seconds_is_an_error() -> None:
    (row,) = connect()
    fail(row)
    age(31)
    fail(row)
    assert status(row) == "ERROR"


def test_answer_resets_failure_count() -> None:
    (row,) = connect()
    for _ in range(4):
        fail(row)
        fail(row)
        services.mark_active([row.pk])
    assert (status(row), kinds()) == ("ACTIVE", [])


def test_refused_login_is_an_error_immediately(broker: Broker) -> None:
    (row,) = connect()
    broker.state = ReadFailed(Code.CREDENTIALS_REFUSED)
    assert account_polling.refresh_due_accounts(adapter=broker) == (0, 1)
    assert status(row) == "ERROR"
    age(60)
    assert probes.retry_failed(adapter=broker) == (0, 0), "brokers lock who tries too often"


def test_refused_login_is_retried_after_30_minutes_with_backoff(
    broker: Broker,
) -> None:
    connect()
    broker.state = ReadFailed(Code.CREDENTIALS_REFUSED)
    assert account_polling.refresh_due_accounts(adapter=broker) == (0, 1)
    waited = []
    for minutes in range(10, 300, 10):
        age(600)
        if account_polling.refresh_due_accounts(adapter=broker) == (0, 1):
            waited.append(minutes)
    assert (waited[0], len(waited) in (3, 4)) == (30, True), waited
    assert all(later >= 2 * earlier - 10 for earlier, later in pairwise(waited)), waited
    assert probes.retry_failed(adapter=broker) == (0, 0)
    broker.state = account()
    age(status_updates.MAX_BACKOFF_SECONDS)
    assert account_polling.refresh_due_accounts(adapter=broker) == (1, 0)


def test_temporarily_untradable_account_is_polled_every_15_seconds(broker: Broker) -> None:
    """Its login is valid: a nightly close of the broker does not lock the account."""
    (row,) = connect()
    broker.state = ReadFailed(Code.TRADING_DISABLED)
    assert account_polling.refresh_due_accounts(adapter=broker) == (0, 1)
    waits = []
    for _ in range(9):
        waited = 0
        while account_polling.refresh_due_accounts(adapter=broker) == (0, 0):
            age(5)
            waited += 5
        waits.append(waited)
    assert (status(row), set(waits)) == ("ERROR", {15})
    assert probes.retry_failed(adapter=broker) == (0, 0)
    broker.state = account()
    age(15)
    assert probes.retry_failed(adapter=broker) == (1, 0)
    assert status(row) == "ACTIVE"


def test_order_rejected_as_trading_disabled_polls_every_15_seconds(broker: Broker) -> None:
    (row,) = connect()
    status_updates.mark_errors(
        [(row.pk, "No trading.")], retry=status_updates.retry_policy_for(Code.TRADING_DISABLED)
    )
    age(10)
    assert account_polling.refresh_due_accounts(adapter=broker) == (0, 0)
    age(5)
    assert account_polling.refresh_due_accounts(adapter=broker) == (1, 0)


def test_error_without_known_cause_is_polled_immediately(broker: Broker) -> None:
    """As rows written by hand, or before the retry time was stored."""
    (row,) = connect()
    ConnectionHealth.objects.update(
        status="ERROR", last_error_at=timezone.now(), failing_since=None
    )
    assert account_polling.refresh_due_accounts(adapter=broker) == (1, 0)
    assert status(row) == "ACTIVE"


def test_own_failure_in_test_is_retried_immediately(broker: Broker) -> None:
    (row,) = connect()
    broker.checks = KeyError("ours")
    (check,) = connection_checks.run_test(row.pk, adapter=broker)
    assert (check.name, status(row)) == ("program", "ERROR")
    age(5.1)
    assert probes.retry_failed(adapter=broker) == (1, 0)
    assert status(row) == "ACTIVE"


def test_unreachable_account_is_retried_but_not_polled(broker: Broker) -> None:
    doubted, away = connect(2)
    fail(doubted, away)
    for _ in range(3):
        fail(away)
    age(3600)
    assert (status(doubted), status(away)) == ("ACTIVE", "ERROR")
    assert account_polling.refresh_due_accounts(adapter=broker) == (0, 0)
    assert probes.retry_failed(adapter=broker) == (2, 0)


def test_unanswered_test_is_error_and_retried(
    broker: Broker,
) -> None:
    """Its owner pressed the button while the broker was away: half an hour is not for him."""
    for failure in (TimeoutError(), OSError(), ReadFailed(Code.BROKER_UNREACHABLE)):
        (row,) = connect()
        broker.checks = failure
        connection_checks.run_test(row.pk, adapter=broker)
        assert status(row) == "ERROR"
        age(6)
        assert probes.retry_failed(adapter=broker) == (1, 0)
        assert status(row) == "ACTIVE"
    broker.checks = ReadFailed(Code.CREDENTIALS_REFUSED)
    connection_checks.run_test(row.pk, adapter=broker)
    age(6)
    assert probes.retry_failed(adapter=broker) == (0, 0)


def test_new_credentials_are_tested_not_retried(broker: Broker) -> None:
    (row,) = connect()
    fail(row)
    services.set_credentials(row.pk, by=row.user, values={"password": "another"})
    age(60)
    assert probes.retry_failed(adapter=broker) == (0, 0)
    assert (status(row), selectors.due_tests(5)) == ("UNTESTED", [row.pk])
    connection_checks.run_test(row.pk, adapter=broker)
    assert status(row) == "ACTIVE"


def test_passed_test_clears_refused_login_immediately(broker: Broker) -> None:
    (row,) = connect()
    services.mark_errors([(row.pk, "Refused.")])
    services.request_test(row.pk, by=row.user)
    assert selectors.due_tests(5) == [row.pk]
    connection_checks.run_test(row.pk, adapter=broker)
    assert (status(row), selectors.due_tests(5)) == ("ACTIVE", [])


def test_never_healthy_account_fails_on_first_lost_answer() -> None:
    row = make.connection(health_status="UNTESTED", health_reconciled_at=None)
    fail(row)
    assert status(row) == "ERROR"


def test_doubtful_account_is_polled_again_within_seconds(broker: Broker) -> None:
    (row,) = connect()
    fail(row)
    broker.state = account()
    assert probes.retry_failed(adapter=broker) == (0, 0)  # not at once
    age(5.1)
    assert probes.retry_failed(adapter=broker) == (1, 0)
    assert ConnectionHealth.objects.get(pk=row.pk).consecutive_failures == 0
    fail(row)
    broker.state = ReadFailed(Code.BROKER_UNREACHABLE)
    for _ in range(2):
        age(5.1)
        assert probes.retry_failed(adapter=broker) == (0, 1)
    assert status(row) == "ERROR"
    broker.state = account()
    age(5.1)
    assert probes.retry_failed(adapter=broker) == (1, 0)
    assert status(row) == "ACTIVE"
