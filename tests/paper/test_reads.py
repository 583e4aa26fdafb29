"""What is asked beside orders: log in, the price now, what an order would cost, and the bell."""

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
from tests.paper.conftest import HERE, REMOTE, Trader

TOO_LONG = 10  # seconds


# ---- connect -----------------------------------------------------------------------------------
def test_connecting_says_what_is_wrong(trader: Trader) -> None:
    trader.account("P", password="right")
    trader.run(trader.adapter.connect(trader.spec("P", credentials={"password": "right"})))
    for spec, code in (
        (trader.spec("P", credentials={"password": "wrong"}), Code.CREDENTIALS_REFUSED),
        (trader.spec("nobody"), Code.UNKNOWN_ACCOUNT),
    ):
        with pytest.raises(ReadFailed) as failed:
            trader.run(trader.adapter.connect(spec))
        assert failed.value.code is code
    trader.set(unreachable=True)
    with pytest.raises(ReadFailed) as failed:
        trader.run(trader.adapter.connect(trader.spec()))
    assert failed.value.code is Code.BROKER_UNREACHABLE


def test_one_accounts_end_ends_nobody_elses_calls(trader: Trader) -> None:
    trader.account("B1")

    async def end_one() -> D:
        await trader.adapter.account(trader.spec("B1"))
        await trader.adapter.disconnect(trader.spec("A1"))
        balance = (await trader.adapter.account(trader.spec("B1"))).balance
        await trader.adapter.disconnect()
        await trader.adapter.account(trader.spec("A1"))  # opened anew
        return balance

    assert trader.run(end_one()) == 10_000


# ---- quotes ------------------------------------------------------------------------------------
def test_the_price_in_force_is_told_under_the_pairs_own_name(trader: Trader) -> None:
    trader.price("1.20000", "1.20005")
    told = trader.quote("EURUSD")
    assert told == Quote("EUR/USD", D("1.20000"), D("1.20005"), trader.now)


def test_no_price_is_told_where_there_is_none(trader: Trader) -> None:
    for symbol, code in (
        ("GBPUSD", Code.MARKET_CLOSED),
        ("NONSENSE", Code.UNKNOWN_SYMBOL_AT_BROKER),
    ):
        with pytest.raises(ReadFailed) as failed:
            trader.quote(symbol)
        assert failed.value.code is code


def test_prices_that_are_ours_are_not_streamed_back(trader: Trader) -> None:
    spec = trader.spec()
    assert not trader.adapter.capabilities(spec).price_stream

    async def first() -> None:
        async for quote in trader.adapter.stream_quotes(spec, ["EURUSD"]):
            pytest.fail(f"{quote} came")

    with pytest.raises(ReadFailed) as failed:
        trader.run(first())
    assert failed.value.code is Code.NOT_SUPPORTED


# ---- what an order would cost ------------------------------------------------------------------
def test_what_an_entry_would_cost_is_what_it_costs_then(trader: Trader) -> None:
    trader.set(commission_per_million=D(30))
    request = trader.request(Side.BUY, "30000")
    told = trader.what_if(request)
    assert trader.journal() == []
    assert trader.state().margin_used == 0
    assert (told.currency, told.maintenance_margin) == ("USD", None)
    [report] = trader.submit(request)
    assert told.commission == report.fills[0].commission == D("0.99")
    assert told.initial_margin == trader.state().margin_used == D("1100.01")


def test_an_exit_would_free_margin(trader: Trader) -> None:
    [report] = trader.buy("30000")
    used = trader.state().margin_used
    exit_request = trader.request(
        Side.SELL, "10000", reduce_only=True, broker_position_id=report.broker_position_id
    )
    told = trader.what_if(exit_request)
    assert told.initial_margin == pytest.approx(-used / 3, abs=D("0.01"))
    assert trader.positions()[0].quantity == 30_000


def test_the_other_side_of_a_hedge_costs_only_what_it_has_more(trader: Trader) -> None:
    trader.buy("30000")
    used = trader.state().margin_used
    assert trader.what_if(trader.request(Side.SELL, "30000")).initial_margin == 0
    assert trader.what_if(trader.request(Side.SELL, "60000")).initial_margin == used


def test_a_resting_order_costs_what_it_would_if_it_were_executed_now(trader: Trader) -> None:
    now = trader.what_if(trader.request(Side.BUY, "30000"))
    assert trader.what_if(trader.request(Side.BUY, "30000", limit_price="1.05")) == now
    trader.set(partial_fill_max=D(1000))
    assert trader.what_if(trader.request(Side.BUY, "30000")) == now


def test_what_would_be_refused_is_refused_for_the_same_reason(trader: Trader) -> None:
    fine = trader.request(Side.BUY, "1000")
    for request, code in (
        (replace(fine, quantity=D(10_000_000)), Code.NO_MONEY),
        (replace(fine, symbol="NONSENSE"), Code.UNKNOWN_SYMBOL_AT_BROKER),
        (replace(fine, quantity=D("1.5")), Code.VOLUME_INVALID),
        (replace(fine, quantity=D("NaN")), Code.VOLUME_INVALID),
        (replace(fine, stop_loss=D(2)), Code.STOPS_INVALID),
        (replace(fine, order_type=OrderType.LIMIT), Code.PRICE_INVALID),
        (replace(fine, reduce_only=True), Code.NO_POSITION),
    ):
        with pytest.raises(Rejected) as refused:
            trader.what_if(request)
        assert refused.value.code is code, request
        with pytest.raises(Rejected) as refused:
            trader.submit(request)
        assert refused.value.code is code, request


# ---- the bell ----------------------------------------------------------------------------------
async def _after_the_first(trader: Trader, happens: Callable[[], object]) -> int:
    """Listen, let something happen, and read when it rings. Returns how much there was."""
    bell = trader.adapter.stream_events()
    await asyncio.wait_for(anext(bell), TOO_LONG)  # whatever had come before
    ring = asyncio.ensure_future(anext(bell))
    await asyncio.to_thread(happens)
    await asyncio.wait_for(ring, TOO_LONG)
    told = await trader.adapter.events(100)
    await trader.adapter.disconnect()
    return len(told)


def test_the_bell_rings_when_what_it_rings_for_can_be_read(trader: Trader) -> None:
    trader.buy("1000", stop_loss="1.09000")
    assert trader.run(_after_the_first(trader, lambda: trader.price("1.08000"))) == 1


def test_the_owners_hand_rings_too(trader: Trader) -> None:
    trader.buy("1000")
    assert trader.run(_after_the_first(trader, lambda: exchange.owner_closes("A1"))) == 1


def test_each_of_several_listeners_hears_it(trader: Trader) -> None:
    trader.buy("1000", stop_loss="1.09000")

    async def two() -> None:
        bells = [trader.adapter.stream_events() for _ in range(2)]
        for bell in bells:
            await asyncio.wait_for(anext(bell), TOO_LONG)
        rings = [asyncio.ensure_future(anext(bell)) for bell in bells]
        await asyncio.to_thread(trader.price, "1.08000")
        await asyncio.wait_for(asyncio.gather(*rings), TOO_LONG)
        await asyncio.gather(*(bell.aclose() for bell in bells))  # type: ignore[attr-defined]
        await trader.adapter.disconnect()

    trader.run(two())


@HERE
def test_prices_that_make_nothing_happen_do_not_ring(trader: Trader) -> None:
    trader.buy("1000")
    with psycopg.connect(**connection_arguments(), autocommit=True) as line:
        line.execute(f"LISTEN {CHANNEL}")
        trader.price("1.08000")
        exchange.owner_closes("A1")
        with sessions.transaction() as session:
            session.execute("SELECT pg_notify(%s, 'the end')", (CHANNEL,))
        heard = []
        for notice in line.notifies(timeout=TOO_LONG):
            heard.append(notice.payload)
            if notice.payload == "the end":
                break
    assert heard == ["", "the end"]


@pytest.mark.parametrize("trader", [REMOTE], indirect=True)
def test_a_bell_whose_line_breaks_says_so(trader: Trader) -> None:
    async def broken() -> None:
        bell = trader.adapter.stream_events()
        await asyncio.wait_for(anext(bell), TOO_LONG)
        ring = asyncio.ensure_future(anext(bell))
        await asyncio.sleep(0)
        await trader.adapter.disconnect()
        with pytest.raises(ReadFailed) as failed:
            await asyncio.wait_for(ring, TOO_LONG)
        assert failed.value.code is Code.BROKER_UNREACHABLE
        again = trader.adapter.stream_events()  # and the next one works
        await asyncio.wait_for(anext(again), TOO_LONG)
        await trader.adapter.disconnect()

    trader.run(broken())
