"""End to end: a published signal, our engine, ccxt's client, a fake exchange, and back."""

from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any

import pytest

from brokers import registry
from brokers.base import BrokerAdapter
from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from brokers.types import Check, CheckResult
from common.reason_codes import Code
from common.sealing import new_private_key, public_key_of
from connections.health.connection_checks import run_test
from connections.models import ConnectionHealth, ExecutionConnection, HealthStatus
from connections.sealing import seal_credentials
from connections.services import set_credentials
from execution.models import ExecutionLog, Order
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.connections import make
from tests.crypto.factories import DIALECTS, unlimited_rates
from tests.execution import factories
from tests.execution.trading_process import running, until
from tests.fakes.exchange.model import Order as VenueOrder
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Fault, Market, Venue
from tests.operational import set_setting

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
SECONDS = 60.0
EUR_USD = Market("EUR", "USD", D(1), D("0.0001"), D(5))
_adapters: list[BrokerAdapter] = []


def adapter() -> BrokerAdapter:
    """Return the adapter of this process, which reaches the fake exchange."""
    return _adapters[-1]


@pytest.fixture(
    params=[
        pytest.param(("binance", "EURUSD"), id="binance"),
        pytest.param(("okx", "EUR-USD"), id="okx", marks=pytest.mark.exhaustive),
    ]
)
def exchange(request: pytest.FixtureRequest) -> Iterator[tuple[str, Server]]:
    """Spot euros: an exit reads the balance before it is sent."""
    name, symbol = request.param
    venue = Venue({symbol: EUR_USD}, {symbol: D("1.1000")}, {"USD": D(100_000)})
    other = Venue({symbol: EUR_USD}, venue.prices, {"USD": D(100_000)}, key="key-2", uid="2002")
    server = Server(DIALECTS[name], venue, other)
    _adapters.append(CryptoAdapter(ClientPool({name: server.base}, unlimited_rates)))
    before = registry.BUILT_IN["crypto"]
    registry.BUILT_IN["crypto"] = f"{__name__}:adapter"
    registry.clear_cache()
    yield name, server
    registry.BUILT_IN["crypto"] = before
    registry.clear_cache()
    _adapters.pop()
    server.stop()


@pytest.fixture
def engine(
    transactional_db: None, settings: Any, exchange: tuple[str, Server]
) -> Iterator[trading_runtime.TradingRuntime]:
    """A trading process that polls for due orders."""
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    set_setting("execution.poll_seconds", 0.4)
    with running("execution+maintenance", SECONDS) as runtime:
        yield runtime


@pytest.fixture
def feed(db: None) -> Feed:
    return make.feed()


@pytest.fixture
def alice(
    feed: Feed, exchange: tuple[str, Server], engine: trading_runtime.TradingRuntime
) -> ExecutionConnection:
    """An account at the exchange whose connection test has passed."""
    name, server = exchange
    venue = server.venue
    account_settings = {"market": "spot", "symbols": ["EUR/USD"], "currency": "USD"}
    preset = make.preset(sizing_mode="FIXED", fixed_quantity=D(5000), max_signal_age_seconds=600)
    row = make.connection(
        type="crypto", account="main", exchange_name=name, settings=account_settings, preset=preset,
        sealed_credentials=None, health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    credentials = {"api_key": venue.key, "secret": venue.secret, "password": venue.password}
    row.sealed_credentials = seal_credentials(
        credentials, connection_id=row.pk, owner_id=row.owner_id
    )
    row.save()
    make.subscription(row, feed)
    factories.quote(row, "1.10000", "1.10020")
    assert [check for check in run_test(row.pk) if check.result == "fail"] == []
    until(lambda: is_reconciled(row))
    return row


def trades_of(server: Server) -> list[VenueOrder]:
    """Return the accepted entries and exits, without levels (test_engine_spot_levels.py)."""
    with server.venue.lock:
        return [order for order in server.venue.orders if not order.is_level]


def client_order_ids(server: Server) -> list[str]:
    return [order.cid for order in trades_of(server)]


def test_signal_is_filled_and_closed(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server]
) -> None:
    _, server = exchange
    signal = factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    position = ExecutionPosition.objects.get(signal=signal)
    assert (position.quantity, position.connection_id) == (D(5000), alice.pk)

    factories.close_signal(signal)
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    sides = [(order.side, order.filled) for order in trades_of(server)]
    assert sides == [("BUY", D(5000)), ("SELL", D(5000))]
    assert len(set(client_order_ids(server))) == 2


def test_entry_with_lost_reply_is_found_and_not_resent(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server]
) -> None:
    _, server = exchange
    server.venue.faults.append(Fault("drop_after"))
    factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    entry = Order.objects.get()
    assert client_order_ids(server) == [entry.client_order_id]
    assert ExecutionPosition.objects.get().quantity == D(5000)


def enter_key(row: ExecutionConnection, server: Server, key: str) -> list[Check]:
    """Store another key as the owner would, and run the connection test."""
    venue = server.venue
    credentials = {"api_key": key, "secret": venue.secret, "password": venue.password}
    set_credentials(row.pk, by=row.user, values=credentials)
    failed = [check for check in run_test(row.pk) if check.result is CheckResult.FAIL]
    until(lambda: bool(failed) or is_reconciled(row))
    return failed


def is_reconciled(row: ExecutionConnection) -> bool:
    return ConnectionHealth.objects.get(pk=row.pk).reconciled_at is not None


def test_key_of_another_account_stops_connection_with_open_position(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server]
) -> None:
    _, server = exchange
    # Nothing is open: the connection moves to the other account.
    assert enter_key(alice, server, "key-2") == []
    alice.refresh_from_db()
    assert alice.identity == "2002 spot"
    assert enter_key(alice, server, server.venue.key) == []
    signal = factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())

    (check,) = enter_key(alice, server, "key-2")
    alice.refresh_from_db()
    assert alice.identity == "1001 spot"
    assert Code.ACCOUNT_MISMATCH.sentence in check.detail
    assert "EUR/USD (an open position)" in check.detail
    factories.close_signal(signal)
    until(lambda: Order.objects.filter(leg="close-1").exists())
    # Absent at the other account is not closed.
    assert ExecutionPosition.objects.get().quantity == D(5000)
    assert server.accounts["key-2"].orders == []

    server.venue.key = "key-3"  # a new key of the same account
    assert enter_key(alice, server, "key-3") == []
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    assert [order.side for order in trades_of(server)] == ["BUY", "SELL"]


UNLISTED = {
    "binance": Fault("status", 400, '{"code":-4411,"msg":"Please sign the agreement"}'),
    "okx": Fault("status", 200, '{"code":"1","data":[{"sCode":"51061","sMsg":"Close first"}]}'),
}


def test_entry_refused_with_an_unlisted_code_is_rejected_with_its_words(
    alice: ExecutionConnection, feed: Feed, exchange: tuple[str, Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It would stand as UNKNOWN, and after 75 s as one that never arrived."""
    monkeypatch.setattr("brokers.crypto.order_cache.ARRIVES_SECONDS", 0.0)  # absent is certain
    monkeypatch.setattr("brokers.crypto.adapter.expires_ms", lambda clock: 1)
    name, server = exchange
    server.venue.faults.append(UNLISTED[name])
    factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="REJECTED").exists())
    entry = Order.objects.get()
    assert (entry.reason, client_order_ids(server)) == (Code.REJECTED_BY_BROKER, [])
    (line,) = ExecutionLog.objects.filter(order_id=entry.pk, status="REJECTED")
    assert line.detail == UNLISTED[name].body
