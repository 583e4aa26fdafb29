"""The trading process of several stages: one engine trades an account at each of their brokers.

Each stage has a broker type of its own, by its name, so that each account has its stage's adapter.
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from decimal import Decimal as D
from typing import Any

from django.test import override_settings

from brokers import registry
from brokers.base import BrokerAdapter
from common.clocks import market_now
from common.sealing import new_private_key, public_key_of
from conformance.harness import Harness
from conformance.registry import CheckFailed
from connections import eligibility
from connections.health.connection_checks import run_test
from connections.market_data.sources import get_or_create_broker_source
from connections.models import DataConnection, ExecutionConnection, HealthStatus, Instrument
from connections.sealing import seal_credentials
from execution.recovery import order_polling
from execution.runtime import order_streams, trading_runtime
from prices.selectors import latest
from tests.conformance.engine.account import EngineAccount
from tests.conformance.engine.background import BackgroundLoop
from tests.conformance.engine.prices import OtherProcess, RecordedPrices, prices_process
from tests.connections import make
from tests.execution.trading_process import running, until
from tests.operational import set_setting

ROLE = "execution+maintenance+sessions+mt5.main"
_adapters: dict[str, BrokerAdapter] = {}


def __getattr__(name: str) -> Callable[[], BrokerAdapter]:
    """Return the factory of a stage's broker type, which the registry looks up here."""
    if name in _adapters:
        return _factory_of(name)
    raise AttributeError(name)


def _factory_of(broker_type: str) -> Callable[[], BrokerAdapter]:
    def create() -> BrokerAdapter:
        return _adapters[broker_type]

    return create


class EngineProcess:
    """A running engine, and the accounts that it trades."""

    def __init__(
        self, harnesses: Mapping[str, Harness], loop: BackgroundLoop, *, poll_seconds: float = 0.1
    ) -> None:
        """harnesses: open stages by name. Use it in a `with` statement.

        poll_seconds: how often it looks for due orders; there is no worker that gets messages.
        """
        self._poll_seconds = poll_seconds
        self._harnesses = {_type_of(name): harness for name, harness in harnesses.items()}
        self._names = {_type_of(name): name for name in harnesses}
        self._loop, self._stack, self._engine = loop, ExitStack(), ExitStack()
        self._other, self._recorded = OtherProcess(), list[RecordedPrices]()
        self.accounts: dict[str, EngineAccount] = {}  # by name of the stage
        self.failed: dict[str, str] = {}  # stages whose account cannot be connected: why

    def __enter__(self) -> "EngineProcess":
        private = new_private_key()
        settings = override_settings(
            FILLCAST_CREDENTIALS_PUBLIC_KEY=public_key_of(private),
            FILLCAST_CREDENTIALS_PRIVATE_KEYS=(private,),
        )
        set_setting("networks.broker_networks", (ipaddress.ip_network("127.0.0.0/8"),))
        set_setting("execution.poll_seconds", self._poll_seconds)
        with self._stack as stack:
            stack.enter_context(settings)
            stack.enter_context(_registered(self._harnesses))
            stack.enter_context(self._other.judging())
            stack.callback(self._archive)
            stack.push(lambda *_: self._engine.close())
            self._start()
            self._connect()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def restart(self) -> None:
        """End the trading process; another one takes over, with adapters that know nothing."""
        self._engine.close()
        for broker_type, harness in self._harnesses.items():
            self._loop.run(harness.new_process())
            _adapters[broker_type] = harness.adapter
        registry.clear_cache()
        self._start()

    def _start(self) -> None:
        self._engine.enter_context(running(ROLE, 60.0))
        self._engine.enter_context(prices_process(self._recorded))

    def _connect(self) -> None:
        """Connect all accounts, and wait until the engine has a price of each."""
        for broker_type, harness in self._harnesses.items():
            name = self._names[broker_type]
            try:
                self.accounts[name] = self._connected(broker_type, harness)
            except (AssertionError, CheckFailed) as error:
                self.failed[name] = f"it cannot be connected: {error}"
        for account in self.accounts.values():
            account.move(0)
        for account in self.accounts.values():
            until(account.judged)
            source = account.row.data_connection_id or 0
            account.first = latest(source)[account.instrument.pair].bid

    def _connected(self, broker_type: str, harness: Harness) -> EngineAccount:
        """Connect the stage's account as its owner does: its test passes, and it is reconciled."""
        row = _stored(broker_type, harness)
        if row.lane:
            until(lambda: row.lane in trading_runtime.get_runtime().lanes.held())
        recorded = None
        if row.data_connection is None or row.data_connection.broker_connection_id is None:
            recorded = RecordedPrices(row.data_connection_id or 0)
            recorded.publish(self._loop.run(harness.quote()))
            self._recorded.append(recorded)
        if failed := [one for one in run_test(row.pk) if one.result == "fail"]:
            raise CheckFailed(f"its test failed: {failed}")
        until(lambda: ExecutionConnection.objects.get(pk=row.pk).health.reconciled_at is not None)
        row.refresh_from_db()
        feed = make.feed()
        make.subscription(row, feed)
        instrument = Instrument.objects.get(book=row.instrument_book, symbol=harness.symbol)
        account = EngineAccount(harness, self._loop, row, feed, instrument, self._other, recorded)
        assert row.preset is not None
        row.preset.fixed_quantity = account.quantity
        row.preset.save()
        return account

    def _archive(self) -> None:
        """The next engine leaves the accounts alone: their brokers are gone."""
        rows = [account.row for account in self.accounts.values()]
        ExecutionConnection.objects.filter(pk__in=[row.pk for row in rows]).update(
            is_active=False, archived_at=market_now()
        )
        sources = [row.data_connection_id for row in rows]
        DataConnection.objects.filter(pk__in=sources).update(is_active=False)


def _type_of(name: str) -> str:
    """Return the broker type of a stage, by its name."""
    return name.replace(" ", "-")


@contextmanager
def _registered(harnesses: Mapping[str, Harness]) -> Iterator[None]:
    """Let the engine use each stage's adapter for its broker type."""
    before = dict(registry.BUILT_IN)
    for broker_type, harness in harnesses.items():
        _adapters[broker_type] = harness.adapter
        registry.BUILT_IN[broker_type] = f"{__name__}:{broker_type}"
    _clear_caches()
    try:
        yield
    finally:
        registry.BUILT_IN.clear()
        registry.BUILT_IN.update(before)
        _clear_caches()
        _adapters.clear()


def _clear_caches() -> None:
    """Forget what this process knows of broker types."""
    registry.clear_cache()
    eligibility.needs_credentials.cache_clear()
    order_polling.polled_broker_types.cache_clear()
    order_streams.watched_broker_types.cache_clear()


def _stored(broker_type: str, harness: Harness) -> ExecutionConnection:
    """Store a connection to the stage's account; its own broker is its price source if it can."""
    spec = harness.spec
    # As an owner leaves it: some stages keep stops at a broker where they belong to all signals.
    settings = {name: value for name, value in spec.settings.items() if name != "native_stops"}
    sized: dict[str, Any] = {
        "sizing_mode": "FIXED", "fixed_quantity": harness.quantity, "max_signal_age_seconds": 600,
        "max_open_positions": 100, "max_leverage": D(1000), "max_portfolio_risk_percent": D(100),
        "stop_move_seconds": 1,
    }  # fmt: skip
    row = make.connection(
        type=broker_type, account=spec.account, exchange_name=spec.exchange_name,
        settings=settings, preset=make.preset(**sized), sealed_credentials=None,
        health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    if spec.credentials:
        row.sealed_credentials = seal_credentials(
            dict(spec.credentials), connection_id=row.pk, owner_id=row.owner_id
        )
    if harness.adapter.capabilities(spec).price_stream:
        row.data_connection = get_or_create_broker_source(row)
    row.save()
    return row
