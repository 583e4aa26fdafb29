"""End to end: the engine's stops and targets rest at Bybit, and what they execute is booked."""

from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any

import pytest

from brokers import registry
from brokers.base import BrokerAdapter
from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from common.clocks import machine_time
from common.sealing import new_private_key, public_key_of
from connections.health.connection_checks import run_test
from connections.models import ConnectionHealth, ExecutionConnection, HealthStatus
from connections.sealing import seal_credentials
from execution.base.reconciliation_requests import request_reconciliation
from execution.models import DriftItem, Order
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.connections import make
from tests.crypto.factories import DIALECTS, unlimited_rates
from tests.execution import factories
from tests.execution.trading_process import running, until
from tests.fakes.exchange.actions import move_price
from tests.fakes.exchange.model import Fault, Market
from tests.fakes.exchange.model import Order as VenueOrder
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Venue
from tests.operational import set_setting

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
SECONDS = 60.0
BTC = Market("BTC", "USDT", D("0.001"), D("0.1"), D(5))
NAMES = {"binance": "BTCUSDT", "bybit": "BTCUSDT", "okx": "BTC-USDT-SWAP"}
OTHERS = sorted(NAMES.keys() - {"binance"})
STOP, TARGET = "45000", "55000"
_adapters: list[BrokerAdapter] = []


def adapter() -> BrokerAdapter:
    """Return the adapter of this process, which reaches the fake exchange."""
    return _adapters[-1]


@pytest.fixture(
    params=["binance", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in OTHERS)]
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    name = request.param
    symbol = NAMES[name]
    venue = Venue(
        {symbol: BTC}, {symbol: D(50000)}, {"USDT": D(1_000_000)}, derivatives=True,
        fee_rate=D("0.0005"), refuses_duplicates="always" if name == "bybit" else "open",
    )  # fmt: skip
    server = Server(DIALECTS[name], venue)
    _adapters.append(CryptoAdapter(ClientPool({name: server.base}, unlimited_rates)))
    before = registry.BUILT_IN["crypto"]
    registry.BUILT_IN["crypto"] = f"{__name__}:adapter"
    registry.clear_cache()
    yield server
    registry.BUILT_IN["crypto"] = before
    registry.clear_cache()
    _adapters.pop()
    server.stop()


@pytest.fixture
def engine(
    transactional_db: None, settings: Any, server: Server
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
def account(
    feed: Feed, server: Server, engine: trading_runtime.TradingRuntime, request: Any
) -> ExecutionConnection:
    """An account of perpetuals whose connection test has passed."""
    name, venue = request.node.callspec.params["server"], server.venue
    row = make.connection(
        type="crypto", account="main", exchange_name=name,
        settings={"market": "swap", "symbols": ["BTC/USDT:USDT"], "currency": "USDT"},
        preset=make.preset(
            sizing_mode="FIXED", fixed_quantity=D(2), max_signal_age_seconds=600,
            max_leverage=D(100),
        ),
        sealed_credentials=None, health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    keys = {"api_key": venue.key, "secret": venue.secret, "password": venue.password}
    row.sealed_credentials = seal_credentials(keys, connection_id=row.pk, owner_id=row.owner_id)
    row.save()
    make.subscription(row, feed)
    factories.quote(row, "50000", "50000.1", pair="BTC/USDT")
    assert [check for check in run_test(row.pk) if check.result == "fail"] == []
    until(lambda: ConnectionHealth.objects.get(pk=row.pk).reconciled_at is not None)
    return row


def published(feed: Feed, **fields: Any) -> Signal:
    return factories.signal(
        feed, currency_pair="BTC/USDT", sl=D(STOP), targets=[(TARGET, "1")], **fields
    )


def levels(server: Server) -> list[VenueOrder]:
    with server.venue.lock:
        return [one for one in server.venue.orders if one.is_level and one.is_untriggered]


def terms(server: Server) -> list[tuple[D | None, D]]:
    return [(one.trigger, one.amount) for one in levels(server)]


def protected(signal: Signal) -> ExecutionPosition:
    """Wait until the exchange has confirmed the levels of a signal's position."""
    until(lambda: ExecutionPosition.objects.filter(signal=signal, broker_sl=D(STOP)).exists())
    return ExecutionPosition.objects.get(signal=signal)


def test_stop_that_the_exchange_executes_is_booked_and_its_target_is_cancelled(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    position = protected(published(feed))
    assert (position.broker_tp, position.stop_guardian) == (D(TARGET), "BROKER")
    assert sorted(terms(server)) == [(D(STOP), D(2)), (D(TARGET), D(2))]

    symbol = next(iter(server.venue.markets))
    factories.quote(account, "44000", "44000.1", pair="BTC/USDT")  # ours is beyond it, too
    move_price(server.venue, symbol, D(44000))
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    until(lambda: levels(server) == [])
    exit_ = Order.objects.get(position=position)
    assert (exit_.leg, exit_.status, exit_.filled_quantity) == ("sl", "FILLED", D(2))
    assert (exit_.avg_fill_price, exit_.expected_price) == (D(44000), D(STOP))
    position = ExecutionPosition.objects.get()
    assert position.close_reason == "sl"
    assert position.commission == D("0.0005") * 2 * (D(50000) + D(44000))
    # One entry and one stop were executed, and nothing was sent beside the stop.
    assert [one.side for one in server.venue.orders if one.filled] == ["BUY", "SELL"]
    assert len(server.venue.orders) == 3


def test_stop_is_moved_resized_and_removed_with_its_position(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    signal = published(feed)
    protected(signal)
    factories.signal(
        feed, action="MODIFY", refers_to=signal, direction="BUY", sl=D(46000),
        currency_pair="BTC/USDT",
    )  # fmt: skip
    until(lambda: ExecutionPosition.objects.get().broker_sl == D(46000))
    assert sorted(terms(server)) == [(D(46000), D(2)), (D(TARGET), D(2))]

    factories.close_signal(signal, "0.5")
    until(lambda: ExecutionPosition.objects.get().broker_sl_quantity == 1)
    until(lambda: sorted(terms(server)) == [(D(46000), D(1)), (D(TARGET), D(1))])

    factories.close_signal(signal)
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    until(lambda: levels(server) == [])
    assert [one.side for one in server.venue.orders if one.filled] == ["BUY", "SELL", "SELL"]


def test_two_signals_on_a_symbol_each_keep_their_own_stop(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    first, second = published(feed), published(feed)
    protected(first)
    protected(second)
    factories.close_signal(first)
    until(lambda: ExecutionPosition.objects.get(signal=first).quantity == 0)
    until(lambda: sorted(terms(server)) == [(D(STOP), D(2)), (D(TARGET), D(2))])
    position = ExecutionPosition.objects.get(signal=second)
    assert (position.quantity, position.broker_sl) == (D(2), D(STOP))
    names = {one.cid[:18] for one in levels(server)}
    assert names == {Order.objects.get(signal=second, leg="entry").client_order_id}


def test_stop_whose_answer_is_lost_is_placed_once(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    server.venue.faults.append(Fault("drop_after", on="level"))
    began = machine_time()
    position = protected(published(feed))
    until(lambda: sorted(terms(server)) == [(D(STOP), D(2)), (D(TARGET), D(2))])
    assert len([one for one in server.venue.orders if one.is_level]) == 2
    assert position.unprotected_seconds < machine_time() - began + 1  # of another clock


def test_refused_stop_is_watched_by_the_engine(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    server.venue.max_conditional = 0
    signal = published(feed)
    until(lambda: ExecutionPosition.objects.filter(signal=signal, sl_guardian="ENGINE").exists())
    position = ExecutionPosition.objects.get()
    assert (position.broker_sl, position.stop_guardian) == (None, "ENGINE")
    factories.quote(account, "44000", "44000.1", pair="BTC/USDT")
    move_price(server.venue, next(iter(server.venue.markets)), D(44000))
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    assert Order.objects.get(position=position).leg == "sl"


def test_stop_that_has_outlived_its_position_is_cancelled_by_reconciliation(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    signal = published(feed)
    protected(signal)
    factories.close_signal(signal)
    until(lambda: levels(server) == [])
    entry = Order.objects.get(leg="entry")
    symbol = next(iter(server.venue.markets))
    with server.venue.lock:  # a request that arrived when the position was closed already
        buy = server.venue.place(symbol, "BUY", "MARKET", D(2))
        server.venue.place(
            symbol, "SELL", "MARKET", D(2), cid=f"{entry.client_order_id}s7", reduce_only=True,
            trigger=D(STOP), rises=False,
        )  # fmt: skip
        server.venue.place(symbol, "SELL", "MARKET", D(2), reduce_only=True)
    assert buy.filled
    assert len(levels(server)) == 1
    request_reconciliation([account.pk])
    until(lambda: levels(server) == [])
    assert not DriftItem.objects.filter(kind="UNKNOWN_ORDER").exists()
