"""A close on spot takes its position's stop off first: what the exchange sees until the sale.

Rate limits are the exchange's own, of a process that does not reach Redis: an eighth of them.
"""

import re
from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any

import pytest
from django.utils import timezone

from brokers import rate_limits as shared_limits
from brokers import registry
from brokers.base import BrokerAdapter
from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from brokers.crypto.exchange_limits import limits_of
from brokers.crypto.exchanges import Exchange
from brokers.crypto.rate_limits import AccountRateLimits, read_rate
from brokers.rate_limits import rate_limiter_for
from brokers.types import ConnectionSpec
from common.sealing import new_private_key, public_key_of
from connections.health.connection_checks import run_test
from connections.models import ConnectionHealth, ExecutionConnection, HealthStatus
from connections.sealing import seal_credentials
from execution.models import AccountSyncState
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.connections import make
from tests.crypto.factories import unlimited_rates
from tests.execution import factories
from tests.execution.trading_process import running
from tests.fakes.exchange.binance import Binance
from tests.fakes.exchange.model import Market
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Venue
from tests.operational import set_setting
from tests.ports import closed_port
from tests.until import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
SECONDS = 120.0
COINS = ["BTC", *(f"C{number:02}" for number in range(11))]
STOP, TARGET = "45000", "55000"
PROCESSES = 8
OF_EXITS = re.compile(r"POST|DELETE|GET /api/v3/(account\?|(openOrders|order)\?.*symbol=|time)")
"""What an exit may send between the end of its stop and its sale: the check that nothing rests any
more, and a read of the balance that is left."""
_adapters: list[BrokerAdapter] = []


def adapter() -> BrokerAdapter:
    """Return the adapter of this process, which reaches the fake exchange."""
    return _adapters[-1]


class SlowedLimits:
    """Rate limits that are out of reach until `begin`, then the exchange's own."""

    def __init__(self) -> None:
        self._limits: AccountRateLimits | None = None
        self._rates = limits_of("binance", "spot")

    def of(self, known: Exchange, spec: ConnectionSpec) -> AccountRateLimits:
        self._limits = self._limits or unlimited_rates(known, spec)
        return self._limits

    def begin(self) -> None:
        assert self._limits is not None
        rates = {"host": self._rates.host, "orders": self._rates.orders,
                 "reads": read_rate(self._rates.host)}  # fmt: skip
        for kind, rate in rates.items():
            limiter: Any = getattr(self._limits, kind)
            rate_limiter_for(limiter._bucket.name, rate)


@pytest.fixture
def limits() -> SlowedLimits:
    return SlowedLimits()


@pytest.fixture
def server(limits: SlowedLimits) -> Iterator[Server]:
    markets = {f"{coin}USDT": Market(coin, "USDT", D("0.001"), D("0.1"), D(5)) for coin in COINS}
    prices = {name: D(50000) for name in markets}
    held = {coin: D(7) for coin in COINS[1:]}  # bought elsewhere: each is a position to read
    server = Server(Binance, Venue(markets, prices, {"USDT": D(1_000_000), **held}))
    _adapters.append(CryptoAdapter(ClientPool({"binance": server.base}, limits.of)))
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
    transactional_db: None, server: Server, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[trading_runtime.TradingRuntime]:
    """A trading process of eight whose rate limits are not shared: Redis is away."""
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    set_setting("execution.poll_seconds", 0.4)
    with closed_port() as port:
        monkeypatch.setattr(shared_limits, "_url", f"redis://127.0.0.1:{port}")
        monkeypatch.setattr(shared_limits, "_processes", PROCESSES)
        monkeypatch.setattr(shared_limits, "configure", lambda url, processes: None)
        with running("execution+maintenance", SECONDS) as runtime:
            yield runtime


@pytest.fixture
def feed(db: None) -> Feed:
    return make.feed()


@pytest.fixture
def account(
    feed: Feed, server: Server, engine: trading_runtime.TradingRuntime
) -> ExecutionConnection:
    """A spot account with twelve symbols whose connection test has passed."""
    venue = server.venue
    row = make.connection(
        type="crypto", account="main", exchange_name="binance",
        settings={"market": "spot", "symbols": [f"{coin}/USDT" for coin in COINS],
                  "currency": "USDT"},
        preset=make.preset(sizing_mode="FIXED", fixed_quantity=D(1), max_signal_age_seconds=600),
        sealed_credentials=None, health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    keys = {"api_key": venue.key, "secret": venue.secret, "password": venue.password}
    row.sealed_credentials = seal_credentials(keys, connection_id=row.pk, owner_id=row.owner_id)
    row.save()
    make.subscription(row, feed)
    for coin in COINS:
        factories.quote(row, "50000", "50000.1", pair=f"{coin}/USDT")
    assert [check for check in run_test(row.pk) if check.result == "fail"] == []
    until(lambda: ConnectionHealth.objects.get(pk=row.pk).reconciled_at is not None)
    return row


def protected(feed: Feed, coin: str) -> Signal:
    """Open a position and wait until the exchange has confirmed its levels."""
    signal = factories.signal(
        feed, currency_pair=f"{coin}/USDT", sl=D(STOP), targets=[(TARGET, "1")]
    )
    until(lambda: ExecutionPosition.objects.filter(signal=signal, broker_sl=D(STOP)).exists())
    return signal


def after_removal(server: Server, coin: str) -> tuple[list[str], float]:
    """Return what came between the end of a coin's stop and its sale, and for how many seconds."""
    with server.venue.lock:
        arrivals = list(server.venue.arrivals)
    name = f"symbol={coin}USDT"
    cancelled = [n for n, (_, one) in enumerate(arrivals) if "DELETE" in one and name in one]
    sold = [
        n
        for n, (_, one) in enumerate(arrivals)
        if "POST" in one and name in one and "side=SELL" in one and "type=MARKET" in one
    ]
    first, last = cancelled[0], sold[-1]
    assert first < last
    between = [one for _, one in arrivals[first + 1 : last]]
    return between, arrivals[last][0] - arrivals[first][0]


def begin_to_starve(limits: SlowedLimits, server: Server) -> None:
    """Let the exchange's limits hold, and wait until polls wait for them."""
    limits.begin()
    before = len(server.venue.arrivals)
    until(lambda: len(server.venue.arrivals) > before + 8)


def test_no_poll_comes_between_the_stop_and_its_exit(
    account: ExecutionConnection, feed: Feed, server: Server, limits: SlowedLimits
) -> None:
    signal = protected(feed, "BTC")
    begin_to_starve(limits, server)
    factories.close_signal(signal)
    until(lambda: ExecutionPosition.objects.filter(signal=signal, quantity=0).exists())
    between, seconds = after_removal(server, "BTC")
    assert [one for one in between if not OF_EXITS.match(one)] == []
    assert len(between) < 6
    assert seconds < 60


@pytest.mark.exhaustive  # it waits for the limit
def test_stops_are_removed_one_after_the_other_when_all_is_closed(
    account: ExecutionConnection, feed: Feed, server: Server, limits: SlowedLimits
) -> None:
    """Their exits do not fit into the budget together: the last stop stays until its turn."""
    coins = COINS[:6]
    signals = [protected(feed, coin) for coin in coins]
    begin_to_starve(limits, server)
    for signal in signals:
        factories.close_signal(signal)
    until(lambda: not ExecutionPosition.objects.filter(quantity__gt=0).exists())
    gaps = {coin: after_removal(server, coin) for coin in coins}
    print({coin: (len(between), seconds) for coin, (between, seconds) in gaps.items()})
    for between, seconds in gaps.values():
        assert [one for one in between if not OF_EXITS.match(one)] == []
        assert sum(one.startswith("DELETE") for one in between) < 3
        assert seconds < 60


@pytest.mark.exhaustive  # it waits for the limit
def test_polls_end_although_they_wait_for_the_rate_limit(
    account: ExecutionConnection, feed: Feed, server: Server, limits: SlowedLimits
) -> None:
    """An eighth of the exchange's limit is enough to stay in contact with twelve symbols."""
    protected(feed, "BTC")
    begin_to_starve(limits, server)
    began = timezone.now()
    polled = AccountSyncState.objects.filter(connection=account, fills_synced_until__gt=began)
    until(polled.exists)
    assert server.venue.writes[2:] == []  # the entry and its levels
