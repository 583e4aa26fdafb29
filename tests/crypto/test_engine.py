"""The whole way: a published signal, our engine, ccxt's client, an exchange's double, and back."""

from collections.abc import Iterator
from decimal import Decimal as D
from functools import partial
from typing import Any

import pytest

from brokers import registry
from brokers.base import BrokerAdapter
from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from brokers.types import Check, CheckResult
from common.reason_codes import Code
from common.sealing import new_private_key, public_key_of
from connections.credentials.sealing import seal_credentials
from connections.health.connection_checks import run_test
from connections.models import ConnectionHealth, ExecutionConnection, HealthStatus
from connections.services import set_credentials
from execution.models import Order
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.connections import make
from tests.crypto.factories import DIALECTS, unlimited_rates
from tests.execution import factories
from tests.execution.trading_process import running
from tests.execution.trading_process import wait_until as engine_until
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Fault, Market, Venue

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
SECONDS = 60.0
until = partial(engine_until, seconds=SECONDS)
EURO = Market("EUR", "USD", D(1), D("0.0001"), D(5))
_present: list[BrokerAdapter] = []


def adapter() -> BrokerAdapter:
    """The adapter of the process: it reaches the double."""
    return _present[-1]


@pytest.fixture(params=[("binance", "EURUSD"), ("okx", "EUR-USD")], ids=["binance", "okx"])
def exchange(request: pytest.FixtureRequest) -> Iterator[tuple[str, Server]]:
    """Spot euros: what an exit may take is read before it leaves."""
    name, symbol = request.param
    venue = Venue({symbol: EURO}, {symbol: D("1.1000")}, {"USD": D(100_000)})
    other = Venue({symbol: EURO}, venue.prices, {"USD": D(100_000)}, key="key-2", uid="2002")
    server = Server(DIALECTS[name], venue, other)
    _present.append(CryptoAdapter(ClientPool({name: server.base}, unlimited_rates)))
    before = registry.BUILT_IN["crypto"]
    registry.BUILT_IN["crypto"] = f"{__name__}:adapter"
    registry.clear_cache()
    yield name, server
    registry.BUILT_IN["crypto"] = before
    registry.clear_cache()
    _present.pop()
    server.stop()


@pytest.fixture
def engine(
    transactional_db: None, settings: Any, exchange: tuple[str, Server]
) -> Iterator[trading_runtime.TradingRuntime]:
    """A trading process with its own looks for work."""
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    settings.FILLCAST_POLL_SECONDS = 0.2
    with running("execution+maintenance", SECONDS) as present:
        yield present


@pytest.fixture
def feed(db: None) -> Feed:
    return make.feed()


@pytest.fixture
def alice(
    feed: Feed, exchange: tuple[str, Server], engine: trading_runtime.TradingRuntime
) -> ExecutionConnection:
    """Her account at the exchange, as its connection test leaves it."""
    name, server = exchange
    venue = server.venue
    said = {"market": "spot", "symbols": ["EUR/USD"], "currency": "USD"}
    preset = make.preset(sizing_mode="FIXED", fixed_quantity=D(5000), max_signal_age_seconds=600)
    row = make.connection(
        type="crypto", account="main", exchange_name=name, settings=said, preset=preset,
        sealed_credentials=None, health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    keys = {"api_key": venue.key, "secret": venue.secret, "password": venue.password}
    row.sealed_credentials = seal_credentials(keys, connection_id=row.pk, owner_id=row.owner_id)
    row.save()
    make.subscription(row, feed)
    factories.quote(row, "1.10000", "1.10020")
    assert [one for one in run_test(row.pk) if one.result == "fail"] == []
    until(lambda: is_compared(row))
    return row


def ids(server: Server) -> list[str]:
    return [one.cid for one in server.venue.orders]


def test_a_signal_is_filled_and_closed(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server]
) -> None:
    _, server = exchange
    signal = factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    position = ExecutionPosition.objects.get(signal=signal)
    assert (position.quantity, position.connection_id) == (D(5000), alice.pk)

    factories.close_signal(signal)
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    sides = [(one.side, one.filled) for one in server.venue.orders]
    assert sides == [("BUY", D(5000)), ("SELL", D(5000))]
    assert len(set(ids(server))) == 2


def test_an_entry_whose_answer_is_lost_is_found_and_not_sent_again(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server]
) -> None:
    _, server = exchange
    server.venue.faults.append(Fault("drop_after"))
    factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    entry = Order.objects.get()
    assert ids(server) == [entry.client_order_id]
    assert ExecutionPosition.objects.get().quantity == D(5000)


def enter(row: ExecutionConnection, server: Server, key: str) -> list[Check]:
    """The owner enters another key; its test is made."""
    venue = server.venue
    keys = {"api_key": key, "secret": venue.secret, "password": venue.password}
    set_credentials(row.pk, by=row.user, values=keys)
    failed = [one for one in run_test(row.pk) if one.result is CheckResult.FAIL]
    until(lambda: bool(failed) or is_compared(row))
    return failed


def is_compared(row: ExecutionConnection) -> bool:
    return ConnectionHealth.objects.get(pk=row.pk).reconciled_at is not None


def test_a_key_of_another_account_stops_a_connection_with_something_open(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server]
) -> None:
    _, server = exchange
    assert enter(alice, server, "key-2") == []  # nothing is open: now it is the other account
    alice.refresh_from_db()
    assert alice.identity == "2002 spot"
    assert enter(alice, server, server.venue.key) == []
    signal = factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())

    (check,) = enter(alice, server, "key-2")
    alice.refresh_from_db()
    assert alice.identity == "1001 spot"
    assert Code.ACCOUNT_MISMATCH.sentence in check.detail
    assert "EUR/USD (an open position)" in check.detail
    factories.close_signal(signal)
    until(lambda: Order.objects.filter(leg="close-1").exists())
    assert ExecutionPosition.objects.get().quantity == D(5000)  # not there is not closed
    assert server.accounts["key-2"].orders == []

    server.venue.key = "key-3"  # a new one of the same account
    assert enter(alice, server, "key-3") == []
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    assert [one.side for one in server.venue.orders] == ["BUY", "SELL"]
