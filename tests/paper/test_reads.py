"""Calls beside orders: connect, quotes, what-if and notifications."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal as D

import psycopg
import pytest

from brokers.base import ReadFailed, Rejected
from brokers.paper import exchange
from brokers.paper.db_sessions import connection_arguments, sessions
from brokers.paper.notifications import CHANNEL
from brokers.types import OrderType, Quote, Side
from common.reason_codes import Code
from tests.paper.conftest import IN_PROCESS_ONLY, REMOTE, Trader

TIMEOUT = 120.0  # seconds


# ---- connect -----------------------------------------------------------------------------------
def test_connect_reports_the_reason_of_failure(trader: Trader) -> None:
    trader.account("P", password="right")
    trader.run(trader.adapter.connect(trader.spec("P", credentials={"password": "right"})))
    for spec, code in (
        (trader.spec("P", credentials={"password": "wrong"}), Code.CREDENTIALS_REFUSED),
        (trader.spec("missing"), Code.UNKNOWN_ACCOUNT),
    ):
        with pytest.raises(ReadFailed) as failed:
            trader.run(trader.adapter.connect(spec))
        assert failed.value.code is code
    trader.set(unreachable=True)
    with pytest.raises(ReadFailed) as failed:
        trader.run(trader.adapter.connect(trader.spec()))
    assert failed.value.code is Code.BROKER_UNREACHABLE


def test_disconnect_of_one_account_leaves_others_connected(trader: Trader) -> None:
    trader.account("B1")

    async def disconnect_one() -> D:
        await trader.adapter.account(trader.spec("B1"))
        await trader.adapter.disconnect(trader.spec("A1"))
        balance = (await trader.adapter.account(trader.spec("B1"))).balance
        await trader.adapter.disconnect()
        await trader.adapter.account(trader.spec("A1"))  # opens a new connection
        return balance

    assert trader.run(disconnect_one()) == 10_000


# ---- quotes ------------------------------------------------------------------------------------
def test_quote_is_returned_under_the_pair_name(trader: Trader) -> None:
    trader.price("1.20000", "1.20005")
    quote = trader.quote("EURUSD")
    assert quote == Quote("EUR/USD", D("1.20000"), D("1.20005"), trader.now)


def test_quote_without_price_fails(trader: Trader) -> None:
    for symbol, code in (
        ("GBPUSD", Code.MARKET_CLOSED),
        ("INVALID", Code.UNKNOWN_SYMBOL_AT_BROKER),
    ):
        with pytest.raises(ReadFailed) as failed:
            trader.quote(symbol)
        assert failed.value.code is code


def test_price_stream_is_not_supported(trader: Trader) -> None:
    spec = trader.spec()
    assert not trader.adapter.capabilities(spec).price_stream

    async def first() -> None:
        async for quote in trader.adapter.stream_quotes(spec, ["EURUSD"]):
            pytest.fail(f"{quote} came")

    with pytest.raises(ReadFailed) as failed:
        trader.run(first())
    assert failed.value.code is Code.NOT_SUPPORTED


# ---- what an order would cost ------------------------------------------------------------------
def test_what_if_of_entry_matches_its_real_cost(trader: Trader) -> None:
    trader.set(commission_per_million=D(30))
    request = trader.request(Side.BUY, "30000")
    estimate = trader.what_if(request)
    assert trader.journal() == []
    assert trader.state().margin_used == 0
    assert (estimate.currency, estimate.maintenance_margin) == ("USD", None)
    [report] = trader.submit(request)
    assert estimate.commission == report.fills[0].commission == D("0.99")
    assert estimate.initial_margin == trader.state().margin_used == D("1100.01")


def test_what_if_of_exit_frees_margin(trader: Trader) -> None:
    [report] = trader.buy("30000")
    used = trader.state().margin_used
    exit_request = trader.request(
        Side.SELL, "10000", reduce_only=True, broker_position_id=report.broker_position_id
    )
    estimate = trader.what_if(exit_request)
    assert estimate.initial_margin == pytest.approx(-used / 3, abs=D("0.01"))
    assert trader.positions()[0].quantity == 30_000


def test_what_if_of_hedge_counts_only_the_larger_side(trader: Trader) -> None:
    trader.buy("30000")
    used = trader.state().margin_used
    assert trader.what_if(trader.request(Side.SELL, "30000")).initial_margin == 0
    assert trader.what_if(trader.request(Side.SELL, "60000")).initial_margin == used


def test_what_if_of_limit_order_assumes_execution_now(trader: Trader) -> None:
    market_estimate = trader.what_if(trader.request(Side.BUY, "30000"))
    assert trader.what_if(trader.request(Side.BUY, "30000", limit_price="1.05")) == market_estimate
    trader.set(partial_fill_max=D(1000))
    assert trader.what_if(trader.request(Side.BUY, "30000")) == market_estimate


def test_what_if_rejects_for_the_same_reason_as_submit(trader: Trader) -> None:
    valid = trader.request(Side.BUY, "1000")
    for request, code in (
        (replace(valid, quantity=D(10_000_000)), Code.NO_MONEY),
        (replace(valid, symbol="INVALID"), Code.UNKNOWN_SYMBOL_AT_BROKER),
        (replace(valid, quantity=D("1.5")), Code.VOLUME_INVALID),
        (replace(valid, quantity=D("NaN")), Code.VOLUME_INVALID),
        (replace(valid, stop_loss=D(2)), Code.STOPS_INVALID),
        (replace(valid, order_type=OrderType.LIMIT), Code.PRICE_INVALID),
        (replace(valid, reduce_only=True), Code.NO_POSITION),
    ):
        with pytest.raises(Rejected) as refused:
            trader.what_if(request)
        assert refused.value.code is code, request
        with pytest.raises(Rejected) as refused:
            trader.submit(request)
        assert refused.value.code is code, request


# ---- notifications -----------------------------------------------------------------------------
async def _count_events_after(trader: Trader, action: Callable[[], object]) -> int:
    """Listen, run `action`, and read events when notified; return how many there are."""
    stream = trader.adapter.stream_events()
    await asyncio.wait_for(anext(stream), TIMEOUT)  # for earlier events
    notification = asyncio.ensure_future(anext(stream))
    await asyncio.to_thread(action)
    await asyncio.wait_for(notification, TIMEOUT)
    events = await trader.adapter.events(100)
    await trader.adapter.disconnect()
    return len(events)


def test_notification_comes_when_its_event_can_be_read(trader: Trader) -> None:
    trader.buy("1000", stop_loss="1.09000")
    assert trader.run(_count_events_after(trader, lambda: trader.price("1.08000"))) == 1


def test_manual_close_sends_a_notification(trader: Trader) -> None:
    trader.buy("1000")
    assert trader.run(_count_events_after(trader, lambda: exchange.owner_closes("A1"))) == 1


def test_each_of_several_listeners_is_notified(trader: Trader) -> None:
    trader.buy("1000", stop_loss="1.09000")

    async def listen_twice() -> None:
        streams = [trader.adapter.stream_events() for _ in range(2)]
        for stream in streams:
            await asyncio.wait_for(anext(stream), TIMEOUT)
        notifications = [asyncio.ensure_future(anext(stream)) for stream in streams]
        await asyncio.to_thread(trader.price, "1.08000")
        await asyncio.wait_for(asyncio.gather(*notifications), TIMEOUT)
        await asyncio.gather(*(stream.aclose() for stream in streams))  # type: ignore[attr-defined]
        await trader.adapter.disconnect()

    trader.run(listen_twice())


@IN_PROCESS_ONLY
def test_quote_without_effect_sends_no_notification(trader: Trader) -> None:
    trader.buy("1000")
    with psycopg.connect(**connection_arguments(), autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        trader.price("1.08000")
        exchange.owner_closes("A1")
        with sessions.transaction() as session:
            session.execute("SELECT pg_notify(%s, 'the end')", (CHANNEL,))
        payloads = []
        for notification in listener.notifies(timeout=TIMEOUT):
            payloads.append(notification.payload)
            if notification.payload == "the end":
                break
    assert payloads == ["", "the end"]


@pytest.mark.parametrize("trader", [REMOTE], indirect=True)
def test_notification_stream_fails_when_connection_is_lost(trader: Trader) -> None:
    async def disconnect_while_listening() -> None:
        stream = trader.adapter.stream_events()
        await asyncio.wait_for(anext(stream), TIMEOUT)
        notification = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        await trader.adapter.disconnect()
        with pytest.raises(ReadFailed) as failed:
            await asyncio.wait_for(notification, TIMEOUT)
        assert failed.value.code is Code.BROKER_UNREACHABLE
        next_stream = trader.adapter.stream_events()  # and a new one works
        await asyncio.wait_for(anext(next_stream), TIMEOUT)
        await trader.adapter.disconnect()

    trader.run(disconnect_while_listening())
