"""End to end on spot: stops and targets rest at the exchange and reserve the coins, so an exit
first removes its own position's (CANCEL_FIRST)."""

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
from connections.kill_switch import release_kill_switch
from connections.models import ConnectionHealth, ExecutionConnection, HealthStatus
from connections.sealing import seal_credentials
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
NAMES = {"binance": "BTCUSDT", "okx": "BTC-USDT"}
OTHERS = sorted(NAMES.keys() - {"binance"})
STOP, TARGET = "45000", "55000"
HELD = D("0.9995")  # of a coin, after the fee
PAIR = [(D(STOP), D("0.999")), (D(TARGET), D("0.999"))]
REFUSALS = {
    "binance": Fault("status", 400, '{"code":-2010,"msg":"Market is closed."}'),
    "okx": Fault("status", 200, '{"code":"1","data":[{"sCode":"51021","sMsg":"Not trading"}]}'),
}
_adapters: list[BrokerAdapter] = []


def adapter() -> BrokerAdapter:
    """Return the adapter of this process, which reaches the fake exchange."""
    return _adapters[-1]


@pytest.fixture(
    params=["binance", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in OTHERS)]
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """An exchange that takes its fee out of the coin that is bought."""
    name = request.param
    symbol = NAMES[name]
    venue = Venue({symbol: BTC}, {symbol: D(50000)}, {"USDT": D(1_000_000)},
                  fee_rate=D("0.0005"), fee_in_base=True)  # fmt: skip
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
def keys(settings: Any) -> None:
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    set_setting("execution.poll_seconds", 0.4)


@pytest.fixture
def engine(
    transactional_db: None, keys: None, server: Server
) -> Iterator[trading_runtime.TradingRuntime]:
    """A trading process that polls for due orders."""
    with running("execution+maintenance", SECONDS) as runtime:
        yield runtime


@pytest.fixture
def feed(db: None) -> Feed:
    return make.feed()


@pytest.fixture
def account(
    feed: Feed, server: Server, engine: trading_runtime.TradingRuntime, request: Any
) -> ExecutionConnection:
    return _account(feed, server, request.node.callspec.params["server"])


def _account(feed: Feed, server: Server, name: str) -> ExecutionConnection:
    """Return a spot account whose connection test has passed. It buys one coin for each signal."""
    venue = server.venue
    row = make.connection(
        type="crypto", account="main", exchange_name=name,
        settings={"market": "spot", "symbols": ["BTC/USDT"], "currency": "USDT"},
        preset=make.preset(sizing_mode="FIXED", fixed_quantity=D(1), max_signal_age_seconds=600),
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


def terms(server: Server) -> list[tuple[D | None, D]]:
    """Return the levels that rest at the exchange."""
    with server.venue.lock:
        found = [one for one in server.venue.orders if one.is_level and one.is_untriggered]
    return sorted((one.trigger or D(0), one.amount) for one in found)


def sold(server: Server) -> list[VenueOrder]:
    with server.venue.lock:
        return [one for one in server.venue.orders if one.side == "SELL" and one.filled]


def protected(signal: Signal) -> ExecutionPosition:
    """Wait until the exchange has confirmed the levels of a signal's position."""
    until(lambda: ExecutionPosition.objects.filter(signal=signal, broker_sl=D(STOP)).exists())
    return ExecutionPosition.objects.get(signal=signal)


def closed(signal: Signal) -> bool:
    return ExecutionPosition.objects.filter(signal=signal, quantity=0).exists()


# ---- the levels ------------------------------------------------------------------------------
def test_levels_cover_what_can_be_sold_and_the_position_counts_as_protected(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    position = protected(published(feed))
    assert (position.quantity, position.broker_tp, position.stop_guardian) == (
        HELD, D(TARGET), "BROKER",
    )  # fmt: skip
    assert terms(server) == PAIR
    # What the step leaves over is no difference: nothing is sent again, and nothing is alerted.
    assert position.broker_sl_quantity == position.quantity
    writes = len(server.venue.writes)
    polls = len(server.venue.request_lines)
    until(lambda: len(server.venue.request_lines) > polls + 20)
    position.refresh_from_db()
    assert (position.unprotected_since, position.level_sync_attempts) == (None, 0)
    assert len(server.venue.writes) == writes


@pytest.mark.parametrize(("price", "leg"), [(44000, "sl"), (56000, "tp-1")])
def test_level_that_the_exchange_executes_is_booked(
    account: ExecutionConnection, feed: Feed, server: Server, price: int, leg: str
) -> None:
    protected(published(feed))
    factories.quote(account, str(price), f"{price}.1", pair="BTC/USDT")  # ours is beyond it, too
    move_price(server.venue, next(iter(server.venue.markets)), D(price))
    until(lambda: ExecutionPosition.objects.get().quantity == 0)  # the rest of a step is dust
    exit_ = Order.objects.get(leg=leg)
    assert (exit_.status, exit_.filled_quantity, exit_.avg_fill_price) == (
        "FILLED", D("0.999"), D(price),
    )  # fmt: skip
    assert ExecutionPosition.objects.get().close_reason == leg.replace("tp-", "target_")
    assert len(sold(server)) == 1
    assert terms(server) == []
    assert not DriftItem.objects.exists()


def test_moved_stop_replaces_the_pair(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    signal = published(feed)
    protected(signal)
    factories.signal(
        feed, action="MODIFY", refers_to=signal, direction="BUY", sl=D(46000),
        currency_pair="BTC/USDT",
    )  # fmt: skip
    until(lambda: ExecutionPosition.objects.get().broker_sl == D(46000))
    assert terms(server) == [(D(46000), D("0.999")), (D(TARGET), D("0.999"))]


def test_levels_with_a_lost_answer_are_placed_once(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    server.venue.faults.append(Fault("drop_after", on="level"))
    began = machine_time()
    position = protected(published(feed))
    assert terms(server) == PAIR
    assert len([one for one in server.venue.orders if one.is_level]) == 2
    assert position.unprotected_seconds < machine_time() - began + 1  # of another clock


# ---- exits -----------------------------------------------------------------------------------
def test_exit_removes_the_levels_sells_and_places_them_again_for_what_is_left(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    signal = published(feed)
    protected(signal)
    factories.close_signal(signal, "0.5")
    until(lambda: terms(server) == [(D(STOP), D("0.5")), (D(TARGET), D("0.5"))])
    until(lambda: ExecutionPosition.objects.get().broker_sl == D(STOP))
    assert [one.amount for one in sold(server)] == [D("0.499")]
    factories.close_signal(signal)
    until(lambda: closed(signal))
    assert [one.amount for one in sold(server)] == [D("0.499"), D("0.5")]
    assert terms(server) == []
    statuses = {one.status for one in Order.objects.exits().exclude(leg="dust")}
    assert statuses == {"FILLED"}  # none was refused because of the reserved coins
    # None of the gaps was so long. The test's prices may come late: the machine's fault.
    unprotected = {event["code"] for event in factories.events("position.unprotected")}
    assert unprotected <= {"STOP_NOT_MONITORED"}


def test_exit_of_one_position_leaves_the_levels_of_the_other_one(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    first, second = published(feed), published(feed)
    protected(first)
    protected(second)
    assert terms(server) == sorted(PAIR * 2)
    factories.close_signal(first)
    until(lambda: closed(first))
    assert terms(server) == PAIR
    entry = Order.objects.get(signal=second, leg="entry").client_order_id
    with server.venue.lock:
        resting = [one for one in server.venue.orders if one.is_level and one.is_untriggered]
    assert {one.cid[:18] for one in resting if one.cid} == {entry}  # OKX: one name for both
    assert ExecutionPosition.objects.get(signal=second).quantity == HELD


def test_stop_that_executes_while_an_exit_is_prepared_is_the_only_sale(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    signal = published(feed)
    protected(signal)
    server.venue.fills_before_cancel = True  # of the pair that the exit removes
    factories.close_signal(signal)
    until(lambda: closed(signal))
    assert [one.amount for one in sold(server)] == [D("0.999")]
    assert Order.objects.filter(leg="sl", status="FILLED").count() == 1


@pytest.mark.parametrize("kind", ["drop_after", "drop"])
def test_lost_answer_of_the_removal_neither_sells_twice_nor_leaves_a_level(
    account: ExecutionConnection, feed: Feed, server: Server, kind: str
) -> None:
    signal = published(feed)
    protected(signal)
    server.venue.faults.append(Fault(kind, on="cancel"))
    factories.close_signal(signal)
    until(lambda: closed(signal))
    assert [one.amount for one in sold(server)] == [D("0.999")]
    assert terms(server) == []


def test_levels_are_placed_again_while_the_exit_is_halted(
    account: ExecutionConnection, feed: Feed, server: Server
) -> None:
    signal = published(feed)
    protected(signal)
    server.venue.faults.append(Fault("late", seconds=4.0, on="cancel"))  # halted meanwhile
    factories.close_signal(signal)
    until(lambda: ExecutionPosition.objects.get().protection_suspended)
    switch = make.kill_switch("HALTED", scope="ALL")
    until(lambda: len([one for one in server.venue.orders if one.is_level]) == 4)
    until(lambda: ExecutionPosition.objects.get().broker_sl == D(STOP))
    assert terms(server) == PAIR
    assert sold(server) == []
    release_kill_switch(switch.pk, by=None)
    until(lambda: closed(signal))
    assert [one.amount for one in sold(server)] == [D("0.999")]


def test_levels_are_placed_again_when_the_exit_is_refused(
    account: ExecutionConnection, feed: Feed, server: Server, request: Any
) -> None:
    signal = published(feed)
    protected(signal)
    refused = REFUSALS[request.node.callspec.params["server"]]
    server.venue.faults.extend([refused, refused])
    factories.close_signal(signal, "0.5")
    until(lambda: Order.objects.filter(leg__startswith="close", status="REJECTED").exists())
    until(lambda: ExecutionPosition.objects.get().broker_sl == D(STOP))
    assert terms(server) in (PAIR, [(D(STOP), D("0.5")), (D(TARGET), D("0.5"))])


def test_process_that_ends_between_removal_and_exit_is_taken_over(
    transactional_db: None, keys: None, feed: Feed, server: Server, request: Any
) -> None:
    with running("execution+maintenance", SECONDS):
        _account(feed, server, request.node.callspec.params["server"])
        signal = published(feed)
        protected(signal)
        # Nothing follows the cancel: its effect is not known, and the exchange is not reached.
        unread = [Fault("drop", on="read") for _ in range(2000)]
        server.venue.faults.extend([Fault("drop_after", on="cancel"), *unread])
        factories.close_signal(signal)
        until(lambda: terms(server) == [])
        until(lambda: factories.events("position.unprotected") != [])
    assert sold(server) == []
    server.venue.faults.clear()
    with running("execution+maintenance", SECONDS):
        until(lambda: closed(signal))
    assert [one.amount for one in sold(server)] == [D("0.999")]
    assert terms(server) == []
