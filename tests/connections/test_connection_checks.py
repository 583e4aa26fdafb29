"""Connection tests and account polls against a scripted broker."""

import logging
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection as database
from django.utils import timezone

from brokers.base import ReadFailed
from brokers.types import Check, CheckResult
from common.db.sql import rows
from common.reason_codes import Code
from connections import services, tasks
from connections.health import account_polling, connection_checks, probes
from connections.models import (
    AccountSnapshot,
    ConnectionHealth,
    ExecutionConnection,
    Instrument,
)
from connections.selectors import due_tests
from events.models import Event
from tests.connections import make
from tests.connections.fake_brokers import Broker, account, instrument
from tests.hanging import beside
from tests.until import until

CANARY = "c4nary-Pa55word"
pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def alices() -> ExecutionConnection:
    row = make.connection(
        sealed_credentials=None, health_status="UNTESTED", health_reconciled_at=None
    )
    row.set_credentials({"password": CANARY, "pin": "12"})
    return row


def run(row: ExecutionConnection, broker: Broker) -> list[Check]:
    return connection_checks.run_test(row.pk, adapter=broker)


def health_of(row: ExecutionConnection) -> ConnectionHealth:
    return ConnectionHealth.objects.get(pk=row.pk)


def test_passed_test_stores_all_findings(alices: ExecutionConnection, broker: Broker) -> None:
    services.request_test(alices.pk)
    checks = run(alices, broker)
    assert [(c.name, c.result) for c in checks] == [
        ("login", "ok"), ("account", "ok"), ("instruments", "ok"),
    ]  # fmt: skip
    assert broker.asked[0].credentials == {"password": CANARY, "pin": "12"}
    health = health_of(alices)
    assert health.status == "ACTIVE"
    assert [line["name"] for line in health.last_test] == ["login", "account", "instruments"]
    assert health.last_tested_at is not None
    assert health.last_connected_at is not None
    assert AccountSnapshot.objects.get(pk=alices.pk).equity == 990
    alices.refresh_from_db()
    assert alices.instrument_book == "book"
    listed = Instrument.objects.filter(book="book", is_preferred=True)
    assert listed.get(pair="EUR/USD").symbol == "EURUSD"
    assert due_tests(5) == []


def test_no_transaction_is_open_during_broker_call(
    alices: ExecutionConnection, broker: Broker
) -> None:
    seen: list[bool] = []
    broker.on_call = lambda: seen.append(database.in_atomic_block)
    run(alices, broker)
    assert seen == [False]


FAILURES: list[tuple[Any, str]] = [
    (ReadFailed(Code.CREDENTIALS_REFUSED, f"bad {CANARY}"), "Enter the credentials again"),
    (ConnectionRefusedError(111, "Connection refused"), "Check host, port and network"),
    (TimeoutError(), "Check host and port"),
    (ImportError("no MetaTrader5"), "start a worker that has it"),
    (ValueError(f"could not parse {CANARY}"), "Contact the operators"),
    ([Check("login", CheckResult.FAIL, f"password {CANARY} refused", "Try again.")], "Try again."),
]


@pytest.mark.parametrize(("failure", "hint"), FAILURES, ids=[str(i) for i in range(len(FAILURES))])
def test_failed_check_has_hint_and_no_secret(
    alices: ExecutionConnection,
    broker: Broker,
    failure: Any,
    hint: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    broker.checks = failure
    checks = run(alices, broker)
    assert checks[-1].result is CheckResult.FAIL
    assert hint in checks[-1].hint
    health = health_of(alices)
    assert health.status == "ERROR"
    assert hint in health.last_error
    event = Event.objects.get(connection_id=alices.pk)
    output = capsys.readouterr()
    for text in (str(checks), health.last_error, str(health.last_test), str(event.payload),
                 caplog.text, output.out, output.err):  # fmt: skip
        assert CANARY not in text
    assert health.last_tested_at is not None


def test_undecryptable_credentials_are_a_finding(
    alices: ExecutionConnection, broker: Broker
) -> None:
    ExecutionConnection.objects.filter(pk=alices.pk).update(sealed_credentials=b"rubbish")
    (check,) = run(alices, broker)
    assert check.result is CheckResult.FAIL
    assert "Enter them again" in check.detail
    assert broker.asked == []


def test_internal_host_is_never_called(alices: ExecutionConnection, broker: Broker) -> None:
    """It came past the service, by a name that resolves to us."""
    ExecutionConnection.objects.filter(pk=alices.pk).update(settings={"host": "localhost"})
    (check,) = run(alices, broker)
    assert "not allowed" in check.detail
    assert broker.asked == []


def test_account_without_trading_or_instruments_fails_test(
    alices: ExecutionConnection, broker: Broker
) -> None:
    broker.state = account(trading_allowed=False)
    assert run(alices, broker)[1].result is CheckResult.FAIL
    assert health_of(alices).status == "ERROR"
    broker.state = account()
    assert run(alices, broker)[-1].result is CheckResult.OK
    assert health_of(alices).status == "ACTIVE"
    broker.listed = []
    assert run(alices, broker)[-1].result is CheckResult.FAIL
    assert health_of(alices).status == "ERROR"
    assert Instrument.objects.filter(book="book").count() == 1, "an empty list removes nothing"


def test_due_test_runs_without_its_message(
    alices: ExecutionConnection, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Any] = []
    monkeypatch.setattr(tasks, "run_test", lambda pk: done.append(pk))
    tasks.run_due_tests()
    assert done == []
    services.request_test(alices.pk)
    tasks.run_due_tests()
    assert done == [alices.pk]
    assert tasks.test_connection.name == "connections.test_connection"
    assert tasks.run_due_tests.name == "connections.run_due_tests"


@pytest.mark.django_db(transaction=True)
def test_all_accounts_are_polled_concurrently_within_limits(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_polling, "MAX_CONCURRENT", 5)
    many = [make.connection(sealed_credentials=None) for _ in range(12)]
    make.connection(sealed_credentials=None, is_active=False)
    make.connection(sealed_credentials=None, archived_at=timezone.now())
    resting = timezone.now() + timedelta(minutes=1)
    make.connection(sealed_credentials=None, health_circuit_open_until=resting)
    assert account_polling.refresh_due_accounts(adapter=broker) == (12, 0)
    assert broker.most_at_once == 5
    assert AccountSnapshot.objects.filter(connection__in=many).count() == 12
    assert account_polling.refresh_due_accounts(adapter=broker) == (0, 0), "nothing is due yet"


@pytest.mark.django_db(transaction=True)
def test_result_is_stored_while_another_call_hangs(broker: Broker) -> None:
    hung = make.connection(sealed_credentials=None)
    many = [make.connection(sealed_credentials=None) for _ in range(20)]
    broker.hung = {str(hung.pk)}
    found: list[tuple[int, int]] = []
    reading = beside(lambda: found.append(account_polling.refresh_due_accounts(adapter=broker)))
    try:
        until(lambda: AccountSnapshot.objects.filter(connection__in=many).count() == 20)
        assert (reading.is_alive(), found) == (True, [])
    finally:
        broker.hang.end()
        reading.join(120)
    assert found == [(21, 0)]


def test_unstorable_balance_affects_only_its_account(broker: Broker) -> None:
    many = [make.connection(sealed_credentials=None) for _ in range(6)]
    odd = many[3]
    broker.states[str(odd.pk)] = account(balance=Decimal(10) ** 25)
    assert account_polling.refresh_due_accounts(adapter=broker) == (5, 1)
    read = AccountSnapshot.objects.values_list("connection_id", flat=True)
    assert set(read) == {row.pk for row in many if row is not odd}
    health = ConnectionHealth.objects.filter(status="ERROR").get()
    assert health.connection_id == odd.pk
    assert health.last_error.startswith("The broker's account data cannot be used (")


def test_accounts_of_one_host_do_not_delay_others(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_polling, "BATCH", 10)
    crowd = [make.connection(sealed_credentials=None, exchange_name="A") for _ in range(30)]
    other = make.connection(sealed_credentials=None, exchange_name="B")
    assert account_polling.refresh_due_accounts(adapter=broker) == (10, 0)
    read = AccountSnapshot.objects
    assert read.filter(connection__in=crowd).count() == 9
    assert read.filter(connection=other).exists()


def test_account_recovers_when_broker_answers_again(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "RETRY_SECONDS", 0)
    row = make.connection(sealed_credentials=None)
    broker.state = ReadFailed(Code.BROKER_UNREACHABLE)
    read: list[Callable[..., tuple[int, int]]] = [
        account_polling.refresh_due_accounts, probes.retry_failed, probes.retry_failed,
    ]  # fmt: skip
    for one in read:
        assert not row.has_error()
        assert one(adapter=broker) == (0, 1)
    assert row.has_error()
    broker.state = account()
    assert probes.retry_failed(adapter=broker) == (1, 0)
    assert not row.has_error()
    kinds = Event.objects.order_by("id").values_list("kind", flat=True)
    assert list(kinds) == ["connection.error", "connection.recovered"]


def test_earlier_reading_does_not_overwrite_later() -> None:
    row, now = make.connection(), timezone.now()
    services.store_account_state(row.pk, account(equity=Decimal(2)), read_at=now)
    services.store_account_state(
        row.pk, account(equity=Decimal(1)), read_at=now - timedelta(seconds=5)
    )
    assert AccountSnapshot.objects.get(pk=row.pk).equity == 2


def listed() -> dict[str, tuple[str, bool]]:
    return {i.symbol: (i.pair, i.is_preferred) for i in Instrument.objects.filter(book="b")}


def test_instrument_book_follows_broker_list() -> None:
    plain, micro = instrument("EURUSD", "EURUSD"), instrument("EURUSD.m", "EURUSD.m")
    shares, odd = instrument("XYZ.N", "XYZ/USD"), instrument("???", "???")
    broken = instrument("GBPUSD", "GBP/USD", quantity_step=Decimal(0))
    assert services.store_instruments("b", [micro]) == 1
    assert listed() == {"EURUSD.m": ("EUR/USD", True)}
    assert services.store_instruments("b", [micro, plain, shares, odd, broken]) == 3
    assert listed() == {
        "EURUSD": ("EUR/USD", True), "EURUSD.m": ("EUR/USD", False), "XYZ.N": ("XYZ/USD", True),
    }  # fmt: skip
    renamed = instrument("EURUSD", "GBP/USD")
    assert services.store_instruments("b", [micro, renamed]) == 2
    assert listed() == {"EURUSD": ("GBP/USD", True), "EURUSD.m": ("EUR/USD", True)}


def test_instrument_book_names_symbols_that_fit_equally_well() -> None:
    def rivals() -> dict[str, str]:
        return dict(Instrument.objects.filter(book="b").values_list("symbol", "rivals"))

    names = [f"EURUSD.{letter}" for letter in "abcdef"]
    symbols = [instrument(name, name) for name in names]
    services.store_instruments("b", symbols[:2])
    assert rivals() == {"EURUSD.a": "EURUSD.b", "EURUSD.b": ""}
    services.store_instruments("b", symbols)
    assert rivals()["EURUSD.a"] == "EURUSD.b, EURUSD.c, EURUSD.d, EURUSD.e, 1 more"
    services.store_instruments("b", symbols[1:2])
    assert rivals() == {"EURUSD.b": ""}
    services.store_instruments("b", [*symbols[:2], instrument("EURUSD", "EURUSD")])
    assert set(rivals().values()) == {""}
    services.store_instruments("b", symbols[:2])
    assert rivals()["EURUSD.a"] == "EURUSD.b"


def test_names_of_rivals_fit_into_their_column() -> None:
    names = [f"EURUSD.{letter * 8}-{letter * 24}" for letter in "abcdef"]  # 40 characters
    services.store_instruments("b", [instrument(name, "EUR/USD") for name in names])
    assert Instrument.objects.get(is_preferred=True).rivals.endswith(", 1 more")


@pytest.mark.parametrize(
    ("symbol", "stated", "pair"),
    [
        ("GER40.cash", "DAX/EUR", "DAX/EUR"),  # the owner's word in the account's settings
        ("GER40.cash", "GER40/EUR", "GER40/EUR"),
        (
            "BTCUSDm",
            "BTCUSDm/USD",
            "BTC/USD",
        ),  # what the lists can read comes first
        ("DAX-202703", "DAX-202703/EUR", "DAX-202703/EUR"),  # a month of a future
        ("KOSPI200", "KOSPI200/KRW", "KOSPI200/KRW"),
        ("SIE.DE", "SIE.DE/EUR", "SIE.DE/EUR"),
        ("1000PEPE/USDT:USDT", "1000PEPE/USDT", "1000PEPE/USDT"),
    ],
)
def test_pair_of_unusual_symbol_is_the_stated_one(symbol: str, stated: str, pair: str) -> None:
    services.store_instruments("b", [instrument(symbol, stated)])
    assert listed() == {symbol: (pair, True)}


def test_unchanged_instrument_book_is_not_rewritten() -> None:
    services.store_instruments("b", [instrument("EURUSD", "EUR/USD")])
    before = rows("SELECT ctid::text AS at FROM connections_instrument")
    services.store_instruments("b", [instrument("EURUSD", "EUR/USD")])
    assert rows("SELECT ctid::text AS at FROM connections_instrument") == before
