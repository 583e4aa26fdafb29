"""How an account's page states how soon changes of its orders are known."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from analytics.orders.page_updates import order_updates_of
from common.clocks import market_now
from common.db.sql import rows
from connections.models import ExecutionConnection
from execution.models import AccountSyncState, WorkerLease
from tests.connections import make
from users.models import User
from users.tenancy import act_as, acting_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def row() -> ExecutionConnection:
    return make.connection(
        type="crypto", account="main", exchange_name="binance",
        settings={"market": "spot", "symbols": ["BTC/USDT"], "update_interval_seconds": 2},
    )  # fmt: skip


def listened_to(row: ExecutionConnection, seconds: float = 60, **fields: Any) -> None:
    """A process that lives so long listens to the account."""
    until = market_now() + timedelta(seconds=seconds)
    WorkerLease.objects.create(id="w", role="execution", host="h", pid=1, lease_until=until)
    AccountSyncState.objects.update_or_create(pk=row.pk, defaults={"stream_holder": "w", **fields})


def text(row: ExecutionConnection) -> tuple[str, str]:
    found = order_updates_of(row)
    assert found is not None
    return found


def test_account_without_anything_open_is_not_listened_to(row: ExecutionConnection) -> None:
    how, detail = text(row)
    assert (how, "while anything is open" in detail) == ("every 2 s", True)


def test_delivering_stream_is_at_once(row: ExecutionConnection) -> None:
    listened_to(row, stream_since=market_now())
    assert text(row)[0] == "at once"


def test_stream_of_a_dead_process_does_not_count(row: ExecutionConnection) -> None:
    listened_to(row, seconds=-1, stream_since=market_now())
    assert text(row)[0] == "every 2 s"


@pytest.mark.parametrize("code", ["CREDENTIALS_REFUSED", "BROKER_UNREACHABLE"])
def test_broken_stream_states_why_and_what_to_do(row: ExecutionConnection, code: str) -> None:
    listened_to(row, stream_error=f"{code} something of the exchange's")
    how, detail = text(row)
    assert (how, detail.startswith("it is not watched: ")) == ("every 2 s", True)
    assert detail.count(".") >= 2  # a sentence, and what to do
    assert "something of the exchange's" not in detail


@contextmanager
def as_web(user: User) -> Iterator[None]:
    """Work as the web process does for a user: with row-level security."""
    rows("SET ROLE fillcast_web")
    act_as(user)
    yield
    rows("RESET ROLE")


def owner_of(row: ExecutionConnection) -> User:
    assert row.user is not None
    return row.user


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"stream_since": market_now()}, ("at once", "noticed as they happen")),
        ({"stream_error": "CREDENTIALS_REFUSED x"}, ("every 2 s", "it is not watched: ")),
        ({"stream_error": ""}, ("every 2 s", "it is about to be watched")),
    ],
)
def test_owner_sees_the_state_of_the_stream(
    row: ExecutionConnection, fields: Any, expected: tuple[str, str]
) -> None:
    """Tenants see no lease of a process, and yet what it does for their account."""
    listened_to(row, **fields)
    owner = owner_of(row)
    with as_web(owner):
        assert not WorkerLease.objects.exists()
        how, detail = text(row)
        assert (how, expected[1] in detail) == (expected[0], True)
        assert not WorkerLease.objects.exists()
        assert acting_for() == owner.pk


def test_others_see_nothing_of_the_stream(row: ExecutionConnection) -> None:
    """Not even if a page showed them the account of another tenant."""
    listened_to(row, stream_since=market_now())
    with as_web(make.user()):
        how, detail = text(row)
    assert (how, "while anything is open" in detail) == ("every 2 s", True)


def test_unchecked_exchange_is_polled(row: ExecutionConnection) -> None:
    row.exchange_name = "bitfinex"
    assert text(row) == ("every 2 s", "its orders are read while anything is open")


def test_broker_that_reports_has_no_such_line() -> None:
    assert order_updates_of(make.connection(type="paper", account="P1")) is None


def test_unknown_broker_type_has_no_such_line() -> None:
    assert order_updates_of(ExecutionConnection(type="gone", account="x")) is None
