"""A reading is dated by the database's clock at the time its settings were read."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from brokers.base import ReadFailed
from common.db.sql import array, rows
from common.reason_codes import Code
from connections import services
from connections.health import account_polling, connection_checks, probes
from connections.models import AccountSnapshot, ConnectionHealth, ExecutionConnection
from connections.selectors import accounts_due, accounts_to_open_sql
from tests.connections import make
from tests.connections.fake_brokers import Broker, account

pytestmark = pytest.mark.usefixtures("inline_commits")
BEFORE = account(balance=Decimal(100_000), equity=Decimal(100_000))
AFTER = account(balance=Decimal(1000), equity=Decimal(1000), currency="EUR")


@pytest.fixture
def row() -> ExecutionConnection:
    made = make.connection(sealed_credentials=None, settings={"position_mode": "HEDGING"})
    AccountSnapshot.objects.filter(connection=made).delete()
    return made


@pytest.fixture
def broker() -> Broker:
    made = Broker()
    made.state = BEFORE
    return made


def edit_and_test(row: ExecutionConnection) -> None:
    services.update_connection(row.pk, by=row.user, settings={"position_mode": "NETTING"})
    now = Broker()
    now.state = AFTER
    connection_checks.run_test(row.pk, adapter=now)


def stored_state(row: ExecutionConnection) -> tuple[str, Decimal, str]:
    snapshot = AccountSnapshot.objects.get(connection=row)
    status = ConnectionHealth.objects.get(pk=row.pk).status
    return status, snapshot.balance, snapshot.currency


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_clock_of_polling_host_is_ignored(
    row: ExecutionConnection,
    broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
) -> None:
    """An hour ahead, an account read before would else be what orders are sized by after."""
    real = timezone.now
    with monkeypatch.context() as there:
        there.setattr(timezone, "now", lambda: real() + timedelta(seconds=seconds))
        assert account_polling.refresh_due_accounts(adapter=broker) == (1, 0)
        assert account_polling.refresh_due_accounts(adapter=broker) == (0, 0)
    (age,) = rows("SELECT clock_timestamp() - read_at AS age FROM connections_accountsnapshot")
    assert timedelta(0) <= age.age < timedelta(minutes=5)
    edit_and_test(row)
    assert stored_state(row) == ("ACTIVE", AFTER.balance, "EUR")


def of_sessions(row: ExecutionConnection) -> list[Any]:
    ExecutionConnection.objects.filter(pk=row.pk).update(lane="x")
    return rows(accounts_to_open_sql(), (array(["x"]),))


def of_probing(row: ExecutionConnection) -> list[Any]:
    long_ago = timezone.now() - timedelta(hours=1)
    in_doubt = {"unreachable_at": long_ago, "last_error_at": long_ago}
    ConnectionHealth.objects.filter(pk=row.pk).update(**in_doubt)
    return probes._due(set())


@pytest.mark.parametrize(
    "due",
    [lambda _: accounts_due(5, older_than_seconds=0), of_probing, of_sessions],
    ids=["round", "probing", "sessions"],
)
def test_reading_with_former_settings_is_older_than_current_test(
    row: ExecutionConnection, broker: Broker, due: Any
) -> None:
    """It was selected before, and its turn came after."""
    selected = due(row)
    ExecutionConnection.objects.filter(pk=row.pk).update(lane="")
    edit_and_test(row)
    account_polling.read_accounts(
        selected, run=connection_checks.run_on_process_loop, adapter=broker
    )
    assert broker.asked[0].settings == {"position_mode": "HEDGING"}
    assert stored_state(row) == ("ACTIVE", AFTER.balance, "EUR")


BAD: dict[str, Any] = {
    "refused": ReadFailed(Code.CREDENTIALS_REFUSED),
    "silent": ReadFailed(Code.BROKER_UNREACHABLE),
    "may not trade": account(trading_allowed=False),
    "garbled": account(balance=Decimal("NaN")),
}


def health_state(row: ExecutionConnection) -> tuple[Any, ...]:
    mine = ConnectionHealth.objects.filter(pk=row.pk)
    return mine.values_list(
        "status",
        "last_error",
        "consecutive_failures",
        "unreachable_at",
        "reconciled_at",
        "read_after",
    ).get()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "due",
    [lambda _: accounts_due(5, older_than_seconds=0), of_probing, of_sessions],
    ids=["round", "probing", "sessions"],
)
@pytest.mark.parametrize("bad", BAD)
def test_refusal_with_former_settings_is_no_current_error(
    row: ExecutionConnection, broker: Broker, due: Any, bad: str
) -> None:
    """Otherwise its owner is asked for credentials that are valid, and entries are blocked."""
    selected = due(row)
    ExecutionConnection.objects.filter(pk=row.pk).update(lane="")
    edit_and_test(row)
    ConnectionHealth.objects.filter(pk=row.pk).update(reconciled_at=timezone.now())
    before = health_state(row)
    assert before[:3] == ("ACTIVE", "", 0)
    broker.state = BAD[bad]
    account_polling.read_accounts(
        selected, run=connection_checks.run_on_process_loop, adapter=broker
    )
    assert health_state(row) == before
    account_polling.read_accounts(
        accounts_due(5, older_than_seconds=0),
        run=connection_checks.run_on_process_loop,
        adapter=broker,
    )
    assert health_state(row)[2] == 1  # what is asked with the present ones counts


def test_refusal_before_edit_waits_for_its_test(row: ExecutionConnection, broker: Broker) -> None:
    selected = accounts_due(5, older_than_seconds=0)
    services.update_connection(row.pk, by=row.user, settings={"position_mode": "NETTING"})
    before = health_state(row)
    assert before[0] == "UNTESTED"
    broker.state = ReadFailed(Code.CREDENTIALS_REFUSED)
    account_polling.read_accounts(
        selected, run=connection_checks.run_on_process_loop, adapter=broker
    )
    assert health_state(row) == before
