"""Unstorable broker answers affect only their account; its owner is notified."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models import F

from brokers.types import Check, CheckResult
from connections import services, tasks
from connections.health import account_polling, connection_checks
from connections.models import AccountSnapshot, ConnectionHealth, ExecutionConnection, Instrument
from connections.selectors import due_tests
from tests.connections import make
from tests.connections.fake_brokers import Broker, account, instrument

pytestmark = pytest.mark.usefixtures("inline_commits")
HUGE = Decimal(10) ** 40
LONG = "EURUSD at IDEALPRO, my long-term trend account"

ODD: dict[str, Callable[[Broker], object]] = {
    "long identity": lambda b: setattr(b, "state", account(identity="x" * 200)),
    "NUL in identity": lambda b: setattr(b, "state", account(identity="a\0b")),
    "huge balance": lambda b: setattr(b, "state", account(balance=HUGE)),
    "no number": lambda b: setattr(b, "state", account(equity=Decimal("NaN"))),
    "NUL in account": lambda b: setattr(b, "state", account(account="a\0b")),
    "NUL in currency": lambda b: setattr(b, "state", account(currency="U\0")),
    "no position mode": lambda b: setattr(b, "state", account(position_mode=None)),
    "no check": lambda b: setattr(b, "checks", [Check("login", "ok", None)]),  # type: ignore[arg-type]
}  # fmt: skip


@pytest.fixture
def broker() -> Broker:
    return Broker()


def crypto(account: str = "main") -> ExecutionConnection:
    return make.connection(
        type="crypto", exchange_name="kraken", account=account, sealed_credentials=None,
        settings={"symbols": ["BTC/USD"]},
    )  # fmt: skip


def health_of(row: ExecutionConnection) -> ConnectionHealth:
    return ConnectionHealth.objects.get(pk=row.pk)


def ask_for_tests(*those: ExecutionConnection) -> None:
    ConnectionHealth.objects.update(status="UNTESTED", needs_test=True)
    for row in those:
        services.request_test(row.pk)


@pytest.mark.parametrize("what", ODD)
def test_unstorable_answer_fails_only_its_own_test(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    odd = crypto() if "identity" in what else make.connection(sealed_credentials=None)
    good = make.connection(sealed_credentials=None)
    ask_for_tests(odd, good)
    ODD[what](broker)
    monkeypatch.setattr(
        tasks,
        "run_test",
        lambda pk: connection_checks.run_test(pk, adapter=broker if pk == odd.pk else Broker()),
    )
    tasks.run_due_tests()
    assert (health_of(odd).status, health_of(good).status) == ("ERROR", "ACTIVE")
    assert health_of(odd).last_error.startswith("The broker's account data cannot be")
    assert "Contact the operators" in health_of(odd).last_error
    assert [check["name"] for check in health_of(odd).last_test] == ["answer"]
    assert not AccountSnapshot.objects.filter(pk=odd.pk).exists()
    assert due_tests(5) == []


def test_poll_after_unstorable_answer_requests_a_test(
    broker: Broker,
) -> None:
    """Its login is well: it need not be spared for half an hour."""
    row = make.connection(sealed_credentials=None)
    ask_for_tests(row)
    broker.state = account(balance=HUGE)
    connection_checks.run_test(row.pk, adapter=broker)
    broker.state = account()
    ConnectionHealth.objects.update(read_after=F("read_after") - timedelta(minutes=1))
    assert account_polling.refresh_due_accounts(adapter=broker) == (1, 0)
    assert due_tests(5) == [row.pk]
    connection_checks.run_test(row.pk, adapter=broker)
    assert health_of(row).status == "ACTIVE"


def test_unstorable_broker_message_is_kept_escaped(broker: Broker) -> None:
    row = make.connection(sealed_credentials=None)
    broker.checks = [Check("login", CheckResult.FAIL, "not \0 \ud800 you", "Try again.")]
    connection_checks.run_test(row.pk, adapter=broker)
    assert health_of(row).last_test[0]["detail"] == "not \\0 \\ud800 you"


def test_unexpected_test_failure_does_not_stop_later_tests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = make.connection(), make.connection()
    ask_for_tests(first, second)
    made: list[Any] = []

    def run_test(pk: Any) -> None:
        made.append(pk)
        if pk == first.pk:
            raise OperationalError("deadlock detected")

    monkeypatch.setattr(tasks, "run_test", run_test)
    with pytest.raises(OperationalError):
        tasks.run_due_tests()
    assert made == [first.pk, second.pk]


@pytest.mark.parametrize(
    "unfit",
    [
        instrument(LONG, "EUR/USD"),
        instrument("GBPUSD", "GBP/USD", quantity_max=HUGE),
        instrument("GBPUSD", "GBP/USD", margin_rate=Decimal("NaN")),
        instrument("GBPUSD", "GBP/USD", pip=Decimal("NaN")),
        instrument("XX\0", "XX/USD"),
        instrument("X", "X23456789012/Y23456789012"),
    ],
    ids=["name", "amount", "no number", "no step", "NUL", "pair"],
)
def test_unstorable_symbol_is_omitted_and_reported_to_owner(broker: Broker, unfit: Any) -> None:
    row = make.connection(sealed_credentials=None)
    broker.listed = [instrument("EURUSD", "EUR/USD"), unfit]
    check = connection_checks.run_test(row.pk, adapter=broker)[-1]
    assert (check.name, check.result) == ("instruments", CheckResult.WARN)
    assert check.detail.startswith(
        "1 symbols can be traded. Left out because they cannot be stored: '"
    )
    assert "at most 40 characters" in check.hint
    assert [i.symbol for i in Instrument.objects.filter(book="book")] == ["EURUSD"]
    broker.listed = [unfit]
    assert connection_checks.run_test(row.pk, adapter=broker)[-1].result is CheckResult.FAIL
    assert "at most 40 characters" in health_of(row).last_error


@pytest.mark.parametrize("identity", ["x" * 200, "a\0b"])
def test_unstorable_identity_affects_only_its_account(broker: Broker, identity: str) -> None:
    rows = [crypto(str(number)) for number in range(3)]
    ExecutionConnection.objects.update(sealed_credentials=b"sealed")
    ConnectionHealth.objects.update(consecutive_failures=2)
    for row in rows:
        broker.states[str(row.pk)] = account(identity=f"id {row.pk}")
    odd, *good = rows
    broker.states[str(odd.pk)] = account(identity=identity)
    assert account_polling.refresh_due_accounts(older_than_seconds=0, adapter=broker) == (2, 1)
    assert [health_of(row).consecutive_failures for row in good] == [0, 0]
    for row in good:
        row.refresh_from_db()
        assert row.identity == f"id {row.pk}"
    assert health_of(odd).status == "ERROR"
    assert health_of(odd).last_error.startswith("The broker's account data cannot be")
