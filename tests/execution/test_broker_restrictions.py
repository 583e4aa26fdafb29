"""Brokers' restrictions through the whole system: each order is rejected with its code."""

from decimal import Decimal as D

import pytest
from django.utils import timezone

from brokers.base import OutcomeUnknown
from brokers.types import OrderReport, OrderRequest
from common.reason_codes import Code
from conformance.harness import InjectedFault
from connections.health import connection_checks
from connections.health.status_updates import mark_active
from connections.models import ConnectionHealth, ExecutionConnection, Instrument
from connections.sealing import seal_credentials
from events.models import Event
from execution.models import ExecutionLog, Order
from execution.runtime.trading_runtime import TradingRuntime
from signals.models import Feed
from tests.conformance.stages.mt5 import Mt5Stage
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.staged_accounts import (
    FOREX,
    STAGED,
    TRADED,
    connected,
    keys,
    played,
    publish,
    state,
    trade,
)
from tests.sampling import often
from tests.until import until

__all__ = ["keys"]
pytestmark = [pytest.mark.usefixtures("inline_commits"), pytest.mark.slow]


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
        until(lambda: state(row).last_error.startswith(code.sentence))
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
        until(lambda: state(row).last_error.startswith(sentence))


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
    until(lambda: state(alice).last_error != "")
    assert state(alice).last_error.startswith(Code.REPLY_LOST.sentence)
    assert "hunter2" not in state(alice).last_error
