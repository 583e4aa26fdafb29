"""A lost answer is no error yet, and who is in error is looked at again in time."""

from itertools import pairwise

import pytest
from django.utils import timezone

from brokers.base import ReadFailed
from common.codes import Code
from connections import health, polling, probing, selectors, services, testing
from connections.models import ConnectionHealth
from tests.connections import make
from tests.connections.doubles import Broker, account
from tests.connections.failing import age, connect, fail, kinds, status

pytestmark = pytest.mark.django_db


@pytest.fixture
def broker() -> Broker:
    return Broker()


def test_one_lost_answer_takes_no_account_out_of_the_next_signal() -> None:
    (row,) = connect()
    fail(row)
    assert row.can_execute_trades()
    assert kinds() == []
    noted = ConnectionHealth.objects.get(pk=row.pk)
    assert (noted.last_error, noted.failures_in_a_row) == ("No answer.", 1)


def test_three_in_a_row_are_an_error() -> None:
    (row,) = connect()
    fail(row)
    fail(row)
    assert status(row) == "ACTIVE"
    fail(row)
    assert (status(row), kinds()) == ("ERROR", ["connection.error"])
    assert ConnectionHealth.objects.get(pk=row.pk).reconciled_at is None


def test_the_second_after_half_a_minute_is_an_error() -> None:
    (row,) = connect()
    fail(row)
    age(31)
    fail(row)
    assert status(row) == "ERROR"


def test_an_answer_in_between_begins_anew() -> None:
    (row,) = connect()
    for _ in range(4):
        fail(row)
        fail(row)
        services.mark_active([row.pk])
    assert (status(row), kinds()) == ("ACTIVE", [])


def test_a_refused_login_is_an_error_at_once(broker: Broker) -> None:
    (row,) = connect()
    broker.state = ReadFailed(Code.CREDENTIALS_REFUSED)
    assert polling.refresh_due_accounts(adapter=broker) == (0, 1)
    assert status(row) == "ERROR"
    age(60)
    assert probing.look_again(adapter=broker) == (0, 0), "brokers lock who tries too often"


def test_a_refused_login_is_tried_by_itself_after_half_an_hour_and_then_ever_later(
    broker: Broker,
) -> None:
    connect()
    broker.state = ReadFailed(Code.CREDENTIALS_REFUSED)
    assert polling.refresh_due_accounts(adapter=broker) == (0, 1)
    waited = []
    for minutes in range(10, 300, 10):
        age(600)
        if polling.refresh_due_accounts(adapter=broker) == (0, 1):
            waited.append(minutes)
    assert (waited[0], len(waited) in (3, 4)) == (30, True), waited
    assert all(later >= 2 * earlier - 10 for earlier, later in pairwise(waited)), waited
    assert probing.look_again(adapter=broker) == (0, 0)
    broker.state = account()
    age(health.RAREST_SECONDS)
    assert polling.refresh_due_accounts(adapter=broker) == (1, 0)


def test_an_account_that_may_not_trade_for_a_while_is_read_every_15_seconds(broker: Broker) -> None:
    """Its login is well: a broker that closes for the night locks nobody."""
    (row,) = connect()
    broker.state = ReadFailed(Code.TRADING_DISABLED)
    assert polling.refresh_due_accounts(adapter=broker) == (0, 1)
    waits = []
    for _ in range(9):
        waited = 0
        while polling.refresh_due_accounts(adapter=broker) == (0, 0):
            age(5)
            waited += 5
        waits.append(waited)
    assert (status(row), set(waits)) == ("ERROR", {15})
    assert probing.look_again(adapter=broker) == (0, 0)
    broker.state = account()
    age(15)
    assert probing.look_again(adapter=broker) == (1, 0)
    assert status(row) == "ACTIVE"


def test_an_order_refused_because_trading_is_disabled_waits_as_long(broker: Broker) -> None:
    (row,) = connect()
    health.mark_errors([(row.pk, "No trading.")], again=health.again_of(Code.TRADING_DISABLED))
    age(10)
    assert polling.refresh_due_accounts(adapter=broker) == (0, 0)
    age(5)
    assert polling.refresh_due_accounts(adapter=broker) == (1, 0)


def test_an_error_of_which_nothing_else_is_known_is_read_at_once(broker: Broker) -> None:
    """As it was written before a row said when, or by hand."""
    (row,) = connect()
    ConnectionHealth.objects.update(
        status="ERROR", last_error_at=timezone.now(), failing_since=None
    )
    assert polling.refresh_due_accounts(adapter=broker) == (1, 0)
    assert status(row) == "ACTIVE"


def test_a_failure_of_our_own_in_a_test_is_looked_at_again_at_once(broker: Broker) -> None:
    (row,) = connect()
    broker.checks = KeyError("ours")
    (check,) = testing.run_test(row.pk, adapter=broker)
    assert (check.name, status(row)) == ("program", "ERROR")
    age(5.1)
    assert probing.look_again(adapter=broker) == (1, 0)
    assert status(row) == "ACTIVE"


def test_who_does_not_answer_is_looked_at_again_and_not_read_besides(broker: Broker) -> None:
    doubted, away = connect(2)
    fail(doubted, away)
    for _ in range(3):
        fail(away)
    age(3600)
    assert (status(doubted), status(away)) == ("ACTIVE", "ERROR")
    assert polling.refresh_due_accounts(adapter=broker) == (0, 0)
    assert probing.look_again(adapter=broker) == (2, 0)


def test_a_test_that_no_broker_answered_is_an_error_that_is_looked_at_again(
    broker: Broker,
) -> None:
    """Its owner pressed the button while the broker was away: half an hour is not for him."""
    for failure in (TimeoutError(), OSError(), ReadFailed(Code.BROKER_UNREACHABLE)):
        (row,) = connect()
        broker.checks = failure
        testing.run_test(row.pk, adapter=broker)
        assert status(row) == "ERROR"
        age(6)
        assert probing.look_again(adapter=broker) == (1, 0)
        assert status(row) == "ACTIVE"
    broker.checks = ReadFailed(Code.CREDENTIALS_REFUSED)
    testing.run_test(row.pk, adapter=broker)
    age(6)
    assert probing.look_again(adapter=broker) == (0, 0)


def test_new_credentials_are_tested_not_looked_at_again(broker: Broker) -> None:
    (row,) = connect()
    fail(row)
    services.set_credentials(row.pk, by=row.user, values={"password": "another"})
    age(60)
    assert probing.look_again(adapter=broker) == (0, 0)
    assert (status(row), selectors.due_tests(5)) == ("UNTESTED", [row.pk])
    testing.run_test(row.pk, adapter=broker)
    assert status(row) == "ACTIVE"


def test_a_refused_account_is_well_at_once_when_its_test_passes(broker: Broker) -> None:
    (row,) = connect()
    services.mark_errors([(row.pk, "Refused.")])
    services.request_test(row.pk, by=row.user)
    assert selectors.due_tests(5) == [row.pk]
    testing.run_test(row.pk, adapter=broker)
    assert (status(row), selectors.due_tests(5)) == ("ACTIVE", [])


def test_an_account_that_was_never_well_is_not_spared() -> None:
    row = make.connection(health_status="UNTESTED", health_reconciled_at=None)
    fail(row)
    assert status(row) == "ERROR"


def test_an_account_in_doubt_is_read_again_within_seconds(broker: Broker) -> None:
    (row,) = connect()
    fail(row)
    broker.state = account()
    assert probing.look_again(adapter=broker) == (0, 0)  # not at once
    age(5.1)
    assert probing.look_again(adapter=broker) == (1, 0)
    assert ConnectionHealth.objects.get(pk=row.pk).failures_in_a_row == 0
    fail(row)
    broker.state = ReadFailed(Code.BROKER_UNREACHABLE)
    for _ in range(2):
        age(5.1)
        assert probing.look_again(adapter=broker) == (0, 1)
    assert status(row) == "ERROR"
    broker.state = account()
    age(5.1)
    assert probing.look_again(adapter=broker) == (1, 0)
    assert status(row) == "ACTIVE"
