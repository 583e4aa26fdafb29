"""Live prices from end to end: the expert advisor writes them into its folder, the session worker
reads them, and entries, fills and our stops use them.
"""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal as D
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from brokers import registry
from common.sealing import new_private_key, public_key_of
from connections.health.connection_checks import run_test
from connections.market_data.sources import get_or_create_broker_source
from connections.models import ExecutionConnection, HealthStatus, SourceHealth
from connections.sealing import seal_credentials
from execution.models import Order
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from prices.models import LatestQuote
from prices.selectors import latest
from signals.models import Feed
from tests.connections import make
from tests.dwx.factories import SETTINGS
from tests.execution import factories
from tests.execution.trading_process import running, until
from tests.fakes.dwx.terminal import Terminal
from tests.operational import set_setting

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
SECONDS = 60.0
GOLD = "XAUUSD.m"


@pytest.fixture
def runtime(
    transactional_db: None,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[trading_runtime.TradingRuntime]:
    """A trading process that also holds sessions. It finds the terminals' folders."""
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    set_setting("execution.poll_seconds", 0.4)
    monkeypatch.setenv("FILLCAST_MT4_ROOT", str(tmp_path / "root"))
    registry.clear_cache()
    with running("execution+sessions", SECONDS) as runtime:
        yield runtime
    registry.clear_cache()


@pytest.fixture
def feed(db: None) -> Feed:
    return make.feed()


@pytest.fixture
def connection(
    feed: Feed, terminal: Terminal, runtime: trading_runtime.TradingRuntime
) -> ExecutionConnection:
    """An account whose terminal is its price source. The engine executes its stops."""
    sized: dict[str, Any] = {
        "risk_percent": D(1),
        "max_signal_age_seconds": 600,
        "broker_holds_stops": False,
    }
    row = make.connection(
        type="mt4", account="4711", settings={**SETTINGS, "stale_seconds": 10},
        sealed_credentials=None, preset=make.preset(**sized), health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    row.sealed_credentials = seal_credentials(
        {"password": terminal.key}, connection_id=row.pk, owner_id=row.owner_id
    )
    row.data_connection = get_or_create_broker_source(row)
    row.save()
    make.subscription(row, feed)
    until(lambda: row.lane in runtime.lanes.held())
    assert [one for one in run_test(row.pk) if one.result == "fail"] == []
    until(lambda: ExecutionConnection.objects.get(pk=row.pk).health.reconciled_at is not None)
    return row


@pytest.fixture
def source(connection: ExecutionConnection) -> int:
    """The price source of the account, once both symbols have a price."""
    assert connection.data_connection_id is not None
    source = connection.data_connection_id
    until(lambda: latest(source).keys() == {"EUR/USD", "XAU/USD"})
    return source


def move(terminal: Terminal, bid: str, ask: str, symbol: str = GOLD) -> None:
    terminal.simulate("price", symbol=symbol, bid=float(bid), ask=float(ask))


def bid(source: int, pair: str = "XAU/USD") -> D:
    return latest(source)[pair].bid


def bought(feed: Feed) -> ExecutionPosition:
    """Buy gold with a stop at 1890; return the position."""
    signal = factories.signal(feed, currency_pair="XAU/USD", sl=D(1890))
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    return ExecutionPosition.objects.get(signal=signal)


def test_entry_and_stop_use_prices_of_the_file(source: int, feed: Feed, terminal: Terminal) -> None:
    move(terminal, "1910.00", "1910.50")
    until(lambda: bid(source) == 1910)
    position = bought(feed)
    entry = Order.objects.get(leg="entry")
    assert (entry.symbol, entry.expected_price) == (GOLD, D("1910.50"))
    # Risk 1 % of 10,000 USD over the 20.50 from the live ask to the stop: 4 ounces in steps of one.
    assert (position.quantity, position.entry_price) == (4, D("1910.50"))
    assert (position.price_source_id, position.sl_guardian) == (source, "ENGINE")
    assert [one["sl"] for one in terminal.journal()] == [0.0]

    move(terminal, "1889.00", "1889.50")
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    assert terminal.open_tickets() == {}
    assert [one["close_price"] for one in terminal.journal("close")] == [1889.0]
    until(lambda: SourceHealth.objects.get(pk=source).error_code == "")
    health = SourceHealth.objects.get(pk=source)
    assert (set(health.pairs), health.missing) == ({"EUR/USD", "XAU/USD"}, [])


def denied_entry(feed: Feed) -> Order:
    """Publish a signal; return its entry, which is not sent."""
    signal = factories.signal(feed, currency_pair="XAU/USD", sl=D(1880))
    entries = Order.objects.filter(leg="entry", signal=signal)
    until(lambda: entries.exclude(status="PENDING").exists())
    return entries.get()


def test_prices_of_hanging_terminal_go_stale_until_it_continues(
    source: int, feed: Feed, terminal: Terminal
) -> None:
    bought(feed)
    terminal.fault(hang=True)
    move(terminal, "1889.00", "1889.50")  # the expert advisor does not write it
    until(lambda: SourceHealth.objects.get(pk=source).error_code == "NOT_CONNECTED")
    assert "written nothing" in SourceHealth.objects.get(pk=source).error
    assert bid(source) == 1900
    age_quotes(source, 61)
    entry = denied_entry(feed)
    assert (entry.reason, "written nothing" in entry.detail) == ("QUOTE_STALE", True)
    assert Order.objects.exclude(leg="entry").count() == 0

    terminal.fault()
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    asks = cycle(("1889.51", "1889.50"))  # a price that stands for two seconds is stale again
    until(
        lambda: SourceHealth.objects.get(pk=source).error_code == "",
        meanwhile=lambda: move(terminal, "1889.00", next(asks)),
    )
    assert bid(source) == 1889
    assert len(terminal.journal()) == len(terminal.journal("close")) == 1


def age_quotes(source: int, seconds: float) -> None:
    """Make the stored quotes older."""
    for stored in LatestQuote.objects.filter(data_connection=source):
        stored.received_at -= timedelta(seconds=seconds)
        stored.time -= timedelta(seconds=seconds)
        stored.save()


def test_prices_go_stale_when_price_file_does_not_change(
    source: int, feed: Feed, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The terminal lost its broker; its expert advisor runs on without prices."""
    bought(feed)
    terminal.fault(no_prices=True)
    monkeypatch.setattr("brokers.dwx.prices.STALE_SECONDS", 2.0)  # else two minutes
    monkeypatch.setattr("prices.broker_stream.QUIET_SECONDS", 1.0)
    move(terminal, "1889.00", "1889.50")
    until(lambda: SourceHealth.objects.get(pk=source).error_code == "QUOTE_STALE")
    assert "has moved" in SourceHealth.objects.get(pk=source).error
    age_quotes(source, 61)
    stored = latest(source)
    entry = denied_entry(feed)
    # The source's error, whose seconds go on meanwhile.
    assert (entry.reason, "has moved" in entry.detail) == ("QUOTE_STALE", True)
    assert latest(source) == stored  # none has been stored since
    assert Order.objects.exclude(leg="entry").count() == 0

    terminal.fault()
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    asks = cycle(("1889.51", "1889.50"))  # a price that stands for two seconds is stale again
    until(
        lambda: SourceHealth.objects.get(pk=source).error_code == "",
        meanwhile=lambda: move(terminal, "1889.00", next(asks)),
    )
    assert bid(source) == 1889


def test_prices_are_subscribed_again_after_terminal_restart(
    source: int, terminal: Terminal
) -> None:
    """Its expert advisor has lost the subscriptions."""
    terminal.close()
    until(lambda: SourceHealth.objects.get(pk=source).error_code != "")
    terminal.start()
    move(terminal, "1910.00", "1910.50")
    until(lambda: bid(source) == 1910)
    until(lambda: SourceHealth.objects.get(pk=source).error_code == "")


def test_price_streams_end_when_runtime_stops(
    source: int, runtime: trading_runtime.TradingRuntime
) -> None:
    assert price_streams(runtime)
    runtime.stop()
    assert price_streams(runtime) == []


def price_streams(runtime: trading_runtime.TradingRuntime) -> list[str]:
    names = (repr(one.get_coro()) for one in asyncio.all_tasks(runtime.dispatcher.loop))
    return [name for name in names if "BrokerStream" in name]
