"""Owners' mistakes and brokers' restrictions through the whole system: real
adapters and their libraries against fakes of their brokers, a whole runtime, the database."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from decimal import Decimal as D
from ipaddress import ip_network
from typing import Any

import pytest
from django.utils import timezone

from brokers import registry
from brokers.account_capabilities import Capabilities
from brokers.base import BrokerAdapter, OutcomeUnknown
from brokers.types import ConnectionSpec, OrderReport, OrderRequest
from common.formatting import with_hint
from common.reason_codes import Code
from common.sealing import new_private_key, public_key_of
from conformance.harness import Harness, HarnessFeature, InjectedFault
from connections.credentials.sealing import seal_credentials
from connections.health import connection_checks
from connections.health.status_updates import mark_active
from connections.models import ConnectionHealth, ExecutionConnection, Instrument
from events.models import Event
from execution.models import ExecutionLog, Order
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import execute
from ops.embedded.processes import wait_until
from signals.models import Feed
from tests.conformance.stages import stages_of
from tests.conformance.stages.mt5 import Mt5Stage
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.sampling import often

pytestmark = [pytest.mark.usefixtures("inline_commits"), pytest.mark.slow]

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
    settings.FILLCAST_BROKER_NETWORKS = (ip_network("127.0.0.0/8"),)


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


EXPECTED = {
    HarnessFeature.PASSWORD: {Code.CREDENTIALS_REFUSED},
    HarnessFeature.HOST: {Code.BROKER_UNREACHABLE, Code.NOT_CONNECTED},
    HarnessFeature.ACCOUNT: {Code.UNKNOWN_ACCOUNT, Code.CREDENTIALS_REFUSED, Code.ACCOUNT_MISMATCH},
}


@pytest.mark.parametrize("mistake", EXPECTED)
@pytest.mark.parametrize(("kind", "name"), often(STAGED, every=2))
def test_mistake_is_reported_to_its_owner_and_affects_no_other_account(
    feed: Feed, trading: TradingRuntime, kind: str, name: str, mistake: HarnessFeature
) -> None:
    with played(kind, name, trading) as stage:
        if mistake in stage.unavailable:
            pytest.skip(stage.unavailable[mistake])
        spec = trading.dispatcher.run_call(stage.with_mistake(mistake), 30)
        if mistake is HarnessFeature.ACCOUNT and spec.identity:
            pytest.skip(
                "another account's keys are no mistake before a trade: test_account_identity.py"
            )
        wrong = connected(kind, spec, stage, feed)
        good = connected(kind, trading.dispatcher.run_call(stage.second_account(), 30), stage, feed)
        assert {check.result for check in connection_checks.run_test(good.pk)} <= {"ok", "warn"}
        failed = [check for check in connection_checks.run_test(wrong.pk) if check.result == "fail"]
        assert failed
        assert failed[0].hint
        noted = state(wrong)
        assert (state(good).status, noted.status) == ("ACTIVE", "ERROR")
        assert noted.last_error == with_hint(failed[0].detail, failed[0].hint)
        assert Event.objects.filter(kind="connection.error", connection_id=wrong.pk).count() == 1
        publish(feed, kind)
        trade(trading)
        assert Order.objects.get(connection=good).status == "FILLED"
        assert Order.objects.get(connection=wrong).reason == "CONNECTION_ERROR"


@pytest.mark.parametrize("mistake", EXPECTED)
@pytest.mark.parametrize(("kind", "name"), often(STAGED, every=2))
def test_failure_after_the_test_is_reported_by_the_next_order(
    feed: Feed, trading: TradingRuntime, kind: str, name: str, mistake: HarnessFeature
) -> None:
    with played(kind, name, trading) as stage:
        if mistake in stage.unavailable:
            pytest.skip(stage.unavailable[mistake])
        wrong = connected(
            kind, trading.dispatcher.run_call(stage.with_mistake(mistake), 30), stage, feed
        )
        good = connected(kind, trading.dispatcher.run_call(stage.second_account(), 30), stage, feed)
        connection_checks.run_test(good.pk)
        book = ExecutionConnection.objects.get(pk=good.pk).instrument_book
        ExecutionConnection.objects.filter(pk=wrong.pk).update(instrument_book=book)
        publish(feed, kind)
        trade(trading)
        order = Order.objects.get(connection=wrong)
        assert Order.objects.get(connection=good).status == "FILLED"
        assert order.reason in EXPECTED[mistake]
        assert wait_until(lambda: state(wrong).last_error != "", 60)
        assert state(wrong).last_error.startswith(Code(order.reason).sentence)
        assert state(good).last_error == ""


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (InjectedFault.DISABLED, Code.TRADING_DISABLED),
        (InjectedFault.CLOSED, Code.MARKET_CLOSED),
        (InjectedFault.NO_MONEY, Code.NO_MONEY),
    ],
)
@pytest.mark.parametrize(("kind", "name"), often(STAGED, every=2))
def test_order_that_the_broker_forbids_is_rejected_with_its_code(
    feed: Feed, trading: TradingRuntime, kind: str, name: str, trouble: InjectedFault, code: Code
) -> None:
    with played(kind, name, trading) as stage:
        if trouble in stage.unavailable:
            pytest.skip(stage.unavailable[trouble])
        row = connected(kind, stage.spec, stage, feed)
        assert {check.result for check in connection_checks.run_test(row.pk)} <= {"ok", "warn"}
        trading.dispatcher.run_call(stage.begin(trouble), 30)
        publish(feed, kind)
        trade(trading)
        order = Order.objects.get(connection=row)
        trading.dispatcher.run_call(stage.end(), 30)
        assert (order.status, order.reason) in {("REJECTED", code), ("PENDING", code)}
        assert order.detail
        assert wait_until(lambda: state(row).last_error.startswith(code.sentence), 60)
        assert state(row).last_error.endswith(code.hint)  # what the owner should do
        if code is Code.TRADING_DISABLED:
            return
        assert state(row).status == "ACTIVE"  # the failure is the order's: the account trades on
        assert state(row).last_error_at is not None
        mark_active([row.pk])  # a poll's answer
        assert state(row).last_error != ""
        assert "fail" not in {check.result for check in connection_checks.run_test(row.pk)}
        assert state(row).last_error == ""


@pytest.mark.parametrize(
    ("mode", "code"),
    [(1, Code.SIDE_NOT_ALLOWED), (3, Code.SYMBOL_TRADING_DISABLED),
     (0, Code.SYMBOL_TRADING_DISABLED)],
    ids=["long only", "close only", "disabled"],
)  # fmt: skip
def test_rejected_symbol_or_side_leaves_the_account_trading(
    feed: Feed, trading: TradingRuntime, mode: int, code: Code
) -> None:
    with played("mt5", "mt5 hedging", trading) as stage:
        assert isinstance(stage, Mt5Stage)
        row = connected("mt5", stage.spec, stage, feed)
        assert {check.result for check in connection_checks.run_test(row.pk)} <= {"ok", "warn"}
        factories.quote(row, "150.000", "150.010", pair="USD/JPY")
        ConnectionHealth.objects.update(reconciled_at=timezone.now())
        stage.venue.configure_symbol("EURUSD", trade_mode=mode)
        refused = factories.signal(feed, direction="SELL", sl=D("1.12000"))
        trade(trading)
        factories.signal(feed, currency_pair="USD/JPY", sl=D(149), external_id="other symbol")
        trade(trading)
        orders = {order.signal_id == refused.pk: order for order in Order.objects.all()}
        assert (orders[True].status, orders[True].reason) == ("REJECTED", code)
        assert (orders[False].status, orders[False].reason) == ("FILLED", "")
        health = state(row)
        assert (health.status, health.reconciled_at is None) == ("ACTIVE", False)
        assert not Event.objects.filter(kind__startswith="connection.").exists()


def test_account_with_trading_disabled_at_the_broker_stops(
    feed: Feed, trading: TradingRuntime
) -> None:
    """MetaTrader 5 answers 10017 for a disabled account as for a disabled symbol."""
    with played("mt5", "mt5 hedging", trading) as stage:
        assert isinstance(stage, Mt5Stage)
        row = connected("mt5", stage.spec, stage, feed)
        assert {check.result for check in connection_checks.run_test(row.pk)} <= {"ok", "warn"}
        stage.venue.configure_account(stage.login, may_trade=False)
        publish(feed, "mt5")
        trade(trading)
        order = Order.objects.get()
        assert (order.status, order.reason) == ("REJECTED", "TRADING_DISABLED")
        assert (state(row).status, state(row).error_code) == ("ERROR", "ACCOUNT_TRADING_DISABLED")


@pytest.mark.parametrize(("kind", "name"), often(STAGED, every=2))
def test_symbol_removed_at_the_broker_is_rejected_with_its_code(
    feed: Feed, trading: TradingRuntime, kind: str, name: str
) -> None:
    with played(kind, name, trading) as stage:
        row = connected(kind, stage.spec, stage, feed)
        connection_checks.run_test(row.pk)
        book = ExecutionConnection.objects.get(pk=row.pk).instrument_book
        Instrument.objects.filter(
            book=book, pair=TRADED.get(kind, FOREX)[0], is_preferred=True
        ).update(symbol="GONE")
        publish(feed, kind)
        trade(trading)
        order = Order.objects.get(connection=row)
        assert order.reason == "UNKNOWN_SYMBOL_AT_BROKER"
        assert state(row).status == "ACTIVE"
        sentence = Code.UNKNOWN_SYMBOL_AT_BROKER.sentence
        assert wait_until(lambda: state(row).last_error.startswith(sentence), 60)


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("a\0b", "a\\0b"),
        ("half \udcff of it", "half \\udcff of it"),
        ("x" * 5000, "x" * 2000),
        ("key=hunter2-hunter2 refused", "key=*** refused"),
    ],
)
def test_broker_message_is_stored_without_secrets(
    alice: ExecutionConnection,
    feed: Feed,
    trading: TradingRuntime,
    broker: FakeBroker,
    message: str,
    kept: str,
) -> None:
    alice.sealed_credentials = seal_credentials(
        {"key": "hunter2-hunter2"}, connection_id=alice.pk, owner_id=alice.owner_id
    )
    alice.save()

    def fail_with_message(_: OrderRequest) -> list[OrderReport]:
        raise OutcomeUnknown(Code.REPLY_LOST, message)

    broker.behaviour = fail_with_message
    factories.signal(feed)
    trade(trading)
    order = Order.objects.get()
    (line,) = ExecutionLog.objects.filter(order_id=order.pk, status="UNKNOWN")
    assert (order.status, order.reason) == ("UNKNOWN", "REPLY_LOST")
    assert line.detail == kept
    assert order.detail == kept[:300]
    assert wait_until(lambda: state(alice).last_error != "", 60)
    assert state(alice).last_error.startswith(Code.REPLY_LOST.sentence)
    assert "hunter2" not in state(alice).last_error
