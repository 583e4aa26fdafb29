"""An exchange account and its API keys: entering, testing and polling them."""

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
from tests.crypto.factories import D, ExchangeAccount, close, open_account
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Venue

OTHER_KEY = "key-other"


@pytest.fixture
def account(settings: Any) -> Iterator[ExchangeAccount]:
    """Binance futures: only the spot account reports the identity of a key."""
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    account = open_account("binance", swap=True)
    mine = account.venue
    other = Venue(mine.markets, mine.prices, {"USDT": D(100)}, key=OTHER_KEY, uid="2002",
                  derivatives=True, refuses_duplicates=mine.refuses_duplicates)  # fmt: skip
    account.server.stop()
    account.server = Server(type(account.server._dialect), mine, other)
    account.adapter = account.new_adapter()
    yield account
    close(account)


@pytest.fixture
def connection(account: ExchangeAccount) -> ExecutionConnection:
    """A connection whose test has passed."""
    connection = make.connection(
        type="crypto", account="main", exchange_name="binance", settings=account.spec.settings,
        sealed_credentials=None,
    )  # fmt: skip
    assert enter_key(connection, account, account.venue.key) == []
    return connection


def failed_checks(connection: ExecutionConnection, account: ExchangeAccount) -> list[Check]:
    """Run the connection test and return the checks that fail."""
    checks = run_test(connection.pk, run=account.run, adapter=lambda _: account.adapter)
    return [check for check in checks if check.result is CheckResult.FAIL]


def enter_key(connection: ExecutionConnection, account: ExchangeAccount, key: str) -> list[Check]:
    """Store a key as the owner would, and run the connection test."""
    set_credentials(
        connection.pk, by=connection.user, values={**account.spec.credentials, "api_key": key}
    )
    return failed_checks(connection, account)


def poll(connection: ExecutionConnection, account: ExchangeAccount) -> tuple[int, int]:
    """Poll the account once, as the worker does each minute."""
    return account_polling.refresh_due_accounts(
        older_than_seconds=0, run=account.run, adapter=lambda _: account.adapter
    )


def identity(connection: ExecutionConnection) -> str:
    connection.refresh_from_db()
    return connection.identity


def status(connection: ExecutionConnection) -> str:
    return ConnectionHealth.objects.get(pk=connection.pk).status


def clear_identity(connection: ExecutionConnection) -> None:
    """Make it a connection from before identities were stored."""
    ExecutionConnection.objects.filter(pk=connection.pk).update(
        identity="", identity_credentials_digest=""
    )


def open_position(connection: ExecutionConnection) -> None:
    one = D(1)
    ExecutionPosition.objects.create(
        connection=connection, signal=make.signal(make.feed()), pair="BTC/USDT",
        symbol="BTC/USDT:USDT", side="BUY", quantity=one, opened_quantity=one, entry_price=one,
        pip=one, conversion_rate=one, opened_at=market_now(),
    )  # fmt: skip


def forbid_identity(account: ExchangeAccount) -> None:
    account.venue.may_read_spot = False


def second_connection(
    account: ExchangeAccount, name: str = "again", **settings: Any
) -> ExecutionConnection:
    """Create a second connection for the same account."""
    return make.connection(
        type="crypto", account=name, exchange_name="binance",
        settings={**account.spec.settings, **settings}, sealed_credentials=None,
    )  # fmt: skip
