"""A broker's list of symbols is read again once a day, by one of the accounts that share it."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from brokers.base import ReadFailed
from common.reason_codes import Code
from connections import services
from connections.health import status_updates
from connections.health.connection_checks import run_test
from connections.health.instrument_polling import refresh_due_instruments
from connections.models import ConnectionHealth, ExecutionConnection, Instrument, InstrumentBook
from tests.connections import make
from tests.connections.fake_brokers import Broker, instrument

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def broker() -> Broker:
    return Broker()


def account(**fields: Any) -> ExecutionConnection:
    return make.connection(sealed_credentials=None, instrument_book="book", **fields)


def read_hours_ago(hours: float, *, asked: float | None = None) -> None:
    now = timezone.now()
    InstrumentBook.objects.update_or_create(
        book="book",
        defaults={
            "read_at": now - timedelta(hours=hours),
            "requested_at": None if asked is None else now - timedelta(hours=asked),
        },
    )


async def unreachable(_spec: object) -> list[object]:
    raise ReadFailed(Code.BROKER_UNREACHABLE)


def pairs() -> set[str]:
    return set(Instrument.objects.filter(book="book").values_list("pair", flat=True))


def test_day_old_instrument_list_is_fetched_once(broker: Broker) -> None:
    account(), account()
    services.store_instruments("book", broker.listed)
    assert refresh_due_instruments(adapter=broker) == 0
    broker.listed = [instrument("GBPUSD", "GBP/USD"), instrument("KOSPI200", "KOSPI200/KRW")]
    read_hours_ago(25)
    assert refresh_due_instruments(adapter=broker) == 1
    assert pairs() == {"GBP/USD", "KOSPI200/KRW"}
    assert refresh_due_instruments(adapter=broker) == 0


def test_failed_instrument_fetch_keeps_list_and_health(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = account()
    services.store_instruments("book", broker.listed)
    read_hours_ago(25)

    with monkeypatch.context() as patched:
        patched.setattr(broker, "instruments", unreachable)
        assert refresh_due_instruments(adapter=broker) == 0
    assert pairs() == {"EUR/USD"}
    assert ConnectionHealth.objects.get(pk=mine.pk).status == "ACTIVE"
    assert refresh_due_instruments(adapter=broker) == 0  # not again at once
    read_hours_ago(25, asked=2)
    assert refresh_due_instruments(adapter=broker) == 1


def test_first_reconnect_after_a_day_reads_the_list_once(broker: Broker) -> None:
    mine, other = account(), account()
    services.store_instruments("book", broker.listed)
    read_hours_ago(30, asked=30)
    status_updates.mark_errors([(row.pk, "It does not answer.") for row in (mine, other)])
    assert refresh_due_instruments(adapter=broker) == 0
    broker.listed = [instrument("GBPUSD", "GBP/USD")]
    status_updates.mark_active([mine.pk])
    assert refresh_due_instruments(adapter=broker) == 1
    assert pairs() == {"GBP/USD"}
    status_updates.mark_active([other.pk])
    assert refresh_due_instruments(adapter=broker) == 0


def test_unanswered_instrument_list_is_fetched_at_reconnect(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not an hour later: the broker was away when the list was due."""
    mine = account()
    services.store_instruments("book", broker.listed)
    read_hours_ago(25)

    with monkeypatch.context() as patched:
        patched.setattr(broker, "instruments", unreachable)
        assert refresh_due_instruments(adapter=broker) == 0
        status_updates.mark_errors([(mine.pk, "It does not answer.")])
        assert refresh_due_instruments(adapter=broker) == 0
        status_updates.mark_active([mine.pk])
        assert refresh_due_instruments(adapter=broker) == 0
        assert refresh_due_instruments(adapter=broker) == 0, "and not at every look"
    status_updates.mark_errors([(mine.pk, "It does not answer.")])
    status_updates.mark_active([mine.pk])
    assert refresh_due_instruments(adapter=broker) == 1


def test_new_credentials_fetch_list_of_their_account(broker: Broker) -> None:
    """They need a test, which reads it, however new the list is."""
    mine = account()
    services.store_instruments("book", broker.listed)
    broker.listed = [instrument("GBPUSD", "GBP/USD")]
    services.set_credentials(mine.pk, by=None, values={"password": "another"})
    assert refresh_due_instruments(adapter=broker) == 0, "not before it is known whose list it is"
    run_test(mine.pk, adapter=broker)
    book = ExecutionConnection.objects.get(pk=mine.pk).instrument_book
    assert set(Instrument.objects.filter(book=book).values_list("pair", flat=True)) == {"GBP/USD"}


@pytest.mark.parametrize(
    "fields",
    [{"health_status": "ERROR"}, {"health_unreachable_at": timezone.now()}, {"is_active": False}],
    ids=["in error", "unreachable", "switched off"],
)
def test_only_reachable_accounts_are_queried(broker: Broker, fields: dict[str, Any]) -> None:
    account(**fields)
    read_hours_ago(25)
    assert refresh_due_instruments(adapter=broker) == 0
    assert InstrumentBook.objects.get().requested_at is None


def test_contradicted_instrument_list_is_fetched_at_once(broker: Broker) -> None:
    row = account()
    services.store_instruments("book", broker.listed)
    assert refresh_due_instruments(adapter=broker) == 0
    services.doubt_instruments([row.pk])
    assert refresh_due_instruments(adapter=broker) == 1
    assert refresh_due_instruments(adapter=broker) == 0
