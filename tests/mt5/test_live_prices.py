"""The whole way by live prices: the worker beside a terminal follows it, entries are sized and
filled by its ticks, stops that we keep leave by them."""

from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any

import pytest

from brokers import registry
from common.sealing import new_private_key, public_key_of
from connections.health.connection_checks import run_test
from connections.market_data.sources import get_or_create_broker_source
from connections.models import ExecutionConnection, HealthStatus, SourceHealth, TradingPreset
from connections.sealing import seal_credentials
from execution.models import Order
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from prices.selectors import latest
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.trading_process import running, until
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.operational import set_setting

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
SECONDS = 60.0
SETTINGS: dict[str, Any] = {
    "server": "Double-Demo", "server_timezone": "UTC", "settle_seconds": 0, "reply_timeout": 30,
}  # fmt: skip


@pytest.fixture
def engine(
    transactional_db: None, venue: FakeTerminal, settings: Any
) -> Iterator[trading_runtime.TradingRuntime]:
    """The worker beside the terminal."""
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    set_setting("execution.poll_seconds", 0.4)
    venue.configure(ticking=True)
    venue.configure_account(balance=10_000.0)
    with venue.installed():
        registry.clear_cache()
        with running("mt5.main", SECONDS) as present:
            yield present
        registry.clear_cache()


@pytest.fixture
def feed(db: None) -> Feed:
    return make.feed()


@pytest.fixture
def alice(feed: Feed, engine: trading_runtime.TradingRuntime) -> ExecutionConnection:
    """Her account provides its own prices; the engine guards its stops."""
    sized: dict[str, Any] = {
        "risk_percent": D(1),
        "max_signal_age_seconds": 600,
        "broker_holds_stops": False,
    }
    row = make.connection(
        type="mt5", account="1001", settings=SETTINGS, sealed_credentials=None,
        preset=make.preset(**sized), health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    row.sealed_credentials = seal_credentials(
        {"password": "secret"}, connection_id=row.pk, owner_id=row.owner_id
    )
    row.data_connection = get_or_create_broker_source(row)
    row.save()
    make.subscription(row, feed)
    until(lambda: row.lane in engine.lanes.held())
    assert [one for one in run_test(row.pk) if one.result == "fail"] == []
    until(lambda: ExecutionConnection.objects.get(pk=row.pk).health.reconciled_at is not None)
    return row


def test_terminal_tick_sizes_the_entry_and_triggers_its_stop(
    alice: ExecutionConnection, feed: Feed, venue: FakeTerminal
) -> None:
    source = alice.data_connection_id
    assert source is not None
    until(lambda: latest(source))
    venue.quote("EURUSD", 1.2, 1.2001)
    until(lambda: latest(source)["EUR/USD"].bid == D("1.2"))
    signal = factories.signal(feed, sl=D("1.1900"))
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    position = ExecutionPosition.objects.get(signal=signal)
    # 1 % of 10,000 USD is lost over the 0.0101 from the live ask to the stop: 9,900 in steps of
    # 1,000.
    assert (position.quantity, position.entry_price) == (9000, D("1.2001"))
    assert (position.price_source_id, position.sl_guardian) == (source, "ENGINE")

    venue.configure(connected=False)  # the terminal loses its server: what it shows is no price
    until(lambda: SourceHealth.objects.get(pk=source).error_code == "BROKER_UNREACHABLE")
    venue.quote("EURUSD", 1.189, 1.1891)
    assert latest(source)["EUR/USD"].bid == D("1.2")
    assert Order.objects.exclude(leg="entry").count() == 0

    venue.configure(connected=True)
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    until(lambda: SourceHealth.objects.get(pk=source).error_code == "")
    assert len(venue.accepted()) == 2


def test_engine_guards_a_stop_dropped_by_the_server_before_a_late_reply(
    alice: ExecutionConnection, feed: Feed, venue: FakeTerminal
) -> None:
    """The order is taken without its stop, and the answer comes too late: what the look-up finds
    has no stop, whatever was sent."""
    source = alice.data_connection_id
    assert source is not None
    alice.settings = {**SETTINGS, "native_stops": True, "reply_timeout": 1.5}
    alice.save(update_fields=["settings"])
    TradingPreset.objects.update(broker_holds_stops=True)
    until(lambda: latest(source))
    venue.quote("EURUSD", 1.2, 1.2001)
    until(lambda: latest(source)["EUR/USD"].bid == D("1.2"))
    venue.configure_account(drop_levels=True)
    venue.fault("order_send", "late", accepts=True, seconds=2.5)
    factories.signal(feed, sl=D("1.1900"))
    until(lambda: ExecutionPosition.objects.filter(unprotected_alerted=True).exists())
    position = ExecutionPosition.objects.get()
    assert Order.objects.get(leg="entry").stop_loss == D("1.19")
    assert (position.sl, position.broker_sl, position.stop_guardian) == (
        D("1.19"), None, "ENGINE",
    )  # fmt: skip
    until(lambda: ExecutionPosition.objects.get().levels_given_up)  # placed again, dropped again
    venue.quote("EURUSD", 1.189, 1.1891)
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    assert Order.objects.get(leg="sl").status == "FILLED"
    assert len(venue.accepted()) == 2
