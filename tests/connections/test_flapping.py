"""An account's error stays until it is resolved; our own bugs are not its errors."""

from typing import Any, cast

import pytest

from brokers.base import ReadFailed
from brokers.types import AccountState
from common.db.sql import array, rows
from common.reason_codes import Code
from connections.health import (
    account_polling,
    connection_checks,
    host_circuit_breaker,
    status_updates,
)
from connections.models import AccountSnapshot, ConnectionHealth, ExecutionConnection
from connections.selectors import READ_COLUMNS
from tests.connections import make
from tests.connections.failing import age, connect, fail, kinds, status
from tests.connections.fake_brokers import Broker, account

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def row() -> ExecutionConnection:
    return make.connection(sealed_credentials=None)


def read(broker: Broker) -> tuple[int, int]:
    """The next round of reading, a minute later."""
    age(60)
    return account_polling.refresh_due_accounts(older_than_seconds=0, adapter=broker)


# ---- trading that is disabled ------------------------------------------------------------------
def test_readable_untradable_account_stays_in_error(
    broker: Broker, row: ExecutionConnection
) -> None:
    broker.state = account(trading_allowed=False)
    assert [read(broker) for _ in range(3)] == [(0, 1)] * 3
    assert not row.can_execute_trades()
    assert kinds() == ["connection.error"]
    noted = ConnectionHealth.objects.get(pk=row.pk)
    assert noted.last_error == f"{Code.TRADING_DISABLED.sentence} {Code.TRADING_DISABLED.hint}"
    assert AccountSnapshot.objects.get(connection=row).equity == 990, "the snapshot is stored"
    broker.state = account()
    assert read(broker) == (1, 0)
    assert (status(row), kinds()) == ("ACTIVE", ["connection.error", "connection.recovered"])


def test_poll_does_not_clear_rejected_order_error(broker: Broker, row: ExecutionConnection) -> None:
    broker.state = account(trading_allowed=False)
    status_updates.mark_errors(
        [(row.pk, "No trading.")], retry=status_updates.retry_policy_for(Code.TRADING_DISABLED)
    )
    read(broker)
    assert (status(row), kinds()) == ("ERROR", ["connection.error"])


def test_test_and_next_poll_give_same_status(broker: Broker, row: ExecutionConnection) -> None:
    broker.state = account(trading_allowed=False)
    checks = connection_checks.run_test(row.pk, adapter=broker)
    assert [(row.name, row.result.value) for row in checks if row.result != "ok"] == [
        ("account", "fail")
    ]
    assert status(row) == "ERROR"
    read(broker)
    assert kinds() == ["connection.error"]
    broker.state = account()
    assert read(broker) == (1, 0), "a minute after a test that failed so it is read again"
    assert status(row) == "ACTIVE"


def test_host_with_trading_disabled_accounts_is_not_down(broker: Broker) -> None:
    accounts = connect(5)
    fail(*accounts)
    fail(*accounts)
    assert host_circuit_breaker.open_hosts()
    broker.state = account(trading_allowed=False)
    age(10)
    account_polling.read_accounts(
        _rows(accounts), run=connection_checks.run_on_process_loop, adapter=broker
    )
    assert not host_circuit_breaker.open_hosts()


def _rows(accounts: list[ExecutionConnection]) -> list[Any]:
    these = array(row.pk for row in accounts)
    columns = f"SELECT {READ_COLUMNS} FROM connections_executionconnection c"
    return rows(f"{columns} WHERE c.id = ANY(%s::uuid[])", (these,))


# ---- whose fault it is -------------------------------------------------------------------------
def no_state() -> AccountState:
    """What our program cannot write of any account: it breaks by an AttributeError."""
    return account(position_mode=cast(Any, None))


def test_fault_in_every_answer_is_our_own(broker: Broker) -> None:
    many = [make.connection(sealed_credentials=None) for _ in range(3)]
    broker.state = no_state()
    with pytest.raises(AttributeError):
        account_polling.refresh_due_accounts(adapter=broker)
    assert {status(row) for row in many} == {"ACTIVE"}


def test_fault_in_one_answer_belongs_to_its_account(broker: Broker) -> None:
    many = [make.connection(sealed_credentials=None) for _ in range(3)]
    broker.states[str(many[1].pk)] = no_state()
    assert account_polling.refresh_due_accounts(adapter=broker) == (2, 1)
    assert [status(row) for row in many] == ["ACTIVE", "ERROR", "ACTIVE"]


def test_own_fault_does_not_hide_refused_login(broker: Broker) -> None:
    """The others of the round are written all the same; then it is raised."""
    many = [make.connection(sealed_credentials=None) for _ in range(2)]
    broker.state = no_state()
    refused = make.connection(sealed_credentials=None)
    answer = broker.account

    async def some(spec: Any) -> AccountState:
        if spec.connection_id == str(refused.pk):
            raise ReadFailed(Code.CREDENTIALS_REFUSED)
        return await answer(spec)

    broker.account = some  # type: ignore[method-assign]
    with pytest.raises(AttributeError):
        account_polling.refresh_due_accounts(adapter=broker)
    assert [status(row) for row in many] == ["ACTIVE", "ACTIVE"]
    assert status(refused) == "ERROR"


# ---- probes ------------------------------------------------------------------------------------
def test_probe_waits_for_account_that_can_be_queried() -> None:
    """Who may not be asked takes no probe: the host's turn would be lost."""
    accounts = connect(5)
    fail(*accounts)
    fail(*accounts)
    age(30)
    ConnectionHealth.objects.update(status="UNTESTED")
    assert host_circuit_breaker.claim_probes() == []
    ConnectionHealth.objects.update(status="ERROR")
    assert len(host_circuit_breaker.claim_probes()) == 1
