"""Accounts at fakes of brokers for tests through the whole system: real adapters and their
libraries, a whole runtime, the database."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from decimal import Decimal as D
from ipaddress import ip_network
from typing import Any

import pytest

from brokers import registry
from brokers.account_capabilities import Capabilities
from brokers.base import BrokerAdapter
from brokers.types import ConnectionSpec
from common.sealing import new_private_key, public_key_of
from conformance.harness import Harness
from connections.models import ConnectionHealth, ExecutionConnection
from connections.sealing import seal_credentials
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import execute
from signals.models import Feed
from tests.conformance.stages import stages_of
from tests.execution import factories
from tests.operational import set_setting

STAGED = [
    ("ibkr", "ibkr"), ("mt4", "mt4"), ("mt5", "mt5 hedging"), ("crypto", "bybit perpetuals"),
]  # fmt: skip
FOREX = ("EUR/USD", "1.09990", "1.09000", "USD")  # pair, bid, stop, the account's currency
TRADED = {"crypto": ("BTC/USDT", "50000", "49000", "USDT")}
_present: list[Harness] = []


def adapter() -> BrokerAdapter:
    """The adapter of the broker under test."""
    return _present[-1].adapter


def capabilities_of(spec: ConnectionSpec) -> Capabilities:
    """Any process may speak to these accounts: lanes are the subject of tests/execution/lanes."""
    return replace(adapter().capabilities(spec), session=False)


@pytest.fixture(autouse=True)
def keys(settings: Any) -> None:
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    set_setting("networks.broker_networks", (ip_network("127.0.0.0/8"),))


@contextmanager
def played(kind: str, name: str, trading: TradingRuntime) -> Iterator[Harness]:
    """A broker of this type on the dispatcher's own loop; its adapter is the process's adapter."""
    opened: AbstractAsyncContextManager[Harness] = stages_of(kind)[name]()
    stage = trading.dispatcher.run_call(opened.__aenter__(), 60)
    _present.append(stage)
    before = registry.BUILT_IN[kind]
    registry.BUILT_IN[kind] = f"{__name__}:adapter"
    registry._adapters.clear()
    try:
        yield stage
    finally:
        registry.BUILT_IN[kind] = before
        registry._adapters.clear()
        _present.pop()
        trading.dispatcher.run_call(opened.__aexit__(None, None, None), 60)


def connected(kind: str, spec: ConnectionSpec, stage: Harness, feed: Feed) -> ExecutionConnection:
    """Return a connection with these settings that passed its test before."""
    account, exchange_name = spec.account, spec.exchange_name
    if ExecutionConnection.objects.filter(type=kind, account=account).exists():
        if exchange_name:  # there the account name is the owner's
            account = f"{account} again"
        else:
            exchange_name = "again"
    row = factories.account(
        feed, type=kind, account=account, exchange_name=exchange_name,
        settings=dict(spec.settings), preset_fixed_quantity=stage.quantity,
        snapshot_balance=D(100_000), snapshot_equity=D(100_000), snapshot_free_margin=D(100_000),
        snapshot_currency=TRADED.get(kind, FOREX)[3], instrument_book=kind,
    )  # fmt: skip
    pair, bid, _, _ = TRADED.get(kind, FOREX)
    factories.quote(row, bid, pair=pair)
    if spec.credentials:
        row.sealed_credentials = seal_credentials(
            spec.credentials, connection_id=row.pk, owner_id=row.owner_id
        )
        row.save()
    ExecutionConnection.objects.filter(pk=row.pk).update(identity=spec.identity)
    row.refresh_from_db()
    return row


def state(of: ExecutionConnection) -> ConnectionHealth:
    return ConnectionHealth.objects.get(pk=of.pk)


def publish(feed: Feed, kind: str) -> None:
    pair, _, stop, _ = TRADED.get(kind, FOREX)
    factories.signal(feed, currency_pair=pair, sl=D(stop))


def trade(present: TradingRuntime) -> None:
    execute(factories.pending())
    assert present.dispatcher.wait_idle(30)
    assert present.report_writer.drain(60)
    present.health.write()
