"""An account at an exchange and its keys: entered, tested and read as its owner would."""

from collections.abc import Iterator
from typing import Any

import pytest

from brokers.types import Check, CheckResult
from common.clocks import market_now
from common.sealing import new_private_key, public_key_of
from connections.health import account_polling
from connections.health.connection_checks import run_test
from connections.models import ConnectionHealth, ExecutionConnection
from connections.services import set_credentials
from positions.models import ExecutionPosition
from tests.connections import make
from tests.crypto.factories import D, VenueSetup, close, open_venue
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Venue

OTHERS = "key-other"


@pytest.fixture
def house(settings: Any) -> Iterator[VenueSetup]:
    """Binance's futures: whose the key is, is told by spot's account alone."""
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    one = open_venue("binance", swap=True)
    mine = one.venue
    other = Venue(mine.markets, mine.prices, {"USDT": D(100)}, key=OTHERS, uid="2002",
                  derivatives=True, unique=mine.unique)  # fmt: skip
    one.server.stop()
    one.server = Server(type(one.server._dialect), mine, other)
    one.adapter = one.another()
    yield one
    close(one)


@pytest.fixture
def row(house: VenueSetup) -> ExecutionConnection:
    """An account whose test has passed."""
    made = make.connection(
        type="crypto", account="main", exchange_name="binance", settings=house.spec.settings,
        sealed_credentials=None,
    )  # fmt: skip
    assert enter(made, house, house.venue.key) == []
    return made


def failed_checks(row: ExecutionConnection, house: VenueSetup) -> list[Check]:
    """What fails of its connection test."""
    checks = run_test(row.pk, run=house.run, adapter=lambda _: house.adapter)
    return [one for one in checks if one.result is CheckResult.FAIL]


def enter(row: ExecutionConnection, house: VenueSetup, key: str) -> list[Check]:
    """The owner enters a key; its test is made."""
    set_credentials(row.pk, by=row.user, values={**house.spec.credentials, "api_key": key})
    return failed_checks(row, house)


def read(row: ExecutionConnection, house: VenueSetup) -> tuple[int, int]:
    """Its account is read, as each minute."""
    return account_polling.refresh_due_accounts(
        older_than_seconds=0, run=house.run, adapter=lambda _: house.adapter
    )


def identity(row: ExecutionConnection) -> str:
    row.refresh_from_db()
    return row.identity


def status(row: ExecutionConnection) -> str:
    return ConnectionHealth.objects.get(pk=row.pk).status


def as_before_the_upgrade(row: ExecutionConnection) -> None:
    ExecutionConnection.objects.filter(pk=row.pk).update(
        identity="", identity_credentials_digest=""
    )


def open_something(row: ExecutionConnection) -> None:
    one = D(1)
    ExecutionPosition.objects.create(
        connection=row, signal=make.signal(make.feed()), pair="BTC/USDT",
        symbol="BTC/USDT:USDT", side="BUY", quantity=one, opened_quantity=one, entry_price=one,
        pip=one, conversion_rate=one, opened_at=market_now(),
    )  # fmt: skip


def forbid_identity(house: VenueSetup) -> None:
    house.venue.may_read_spot = False


def second_connection(house: VenueSetup, name: str = "again", **said: Any) -> ExecutionConnection:
    """A second connection, to be of the same account."""
    return make.connection(
        type="crypto", account=name, exchange_name="binance",
        settings={**house.spec.settings, **said}, sealed_credentials=None,
    )  # fmt: skip
