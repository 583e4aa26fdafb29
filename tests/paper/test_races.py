"""Concurrent actions on one account run one after the other."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal as D
from typing import Any

import psycopg
import pytest
from django.db import connections

from brokers.paper import account_actions, quote_processing
from brokers.paper.db_sessions import OPTIONS, sessions
from brokers.paper.models import PaperAccount, PaperFill, PaperOrder
from brokers.paper.order_intake import IncomingOrder, take_orders
from brokers.paper.queries import EXCHANGE_LOCKS
from brokers.types import CancelRequest, OrderReport, ReportKind, Side
from common.reason_codes import Code
from tests.lock_waits import sessions_waiting
from tests.paper.conftest import Trader
from tests.paper.test_quotes import quote
from tests.until import until


def brokers_waiting() -> int:
    """Return how many of the broker's database sessions wait for a lock."""
    return sessions_waiting(program="fillcast-paper-broker")


@contextmanager
def lock_rows(sql: str, *params: Any) -> Iterator[psycopg.Connection[Any]]:
    """Hold a lock in a separate database session."""
    settings = connections.settings["default"]
    with psycopg.connect(
        host=settings["HOST"], port=settings["PORT"], user=settings["USER"],
        password=settings["PASSWORD"], dbname=settings["NAME"],
    ) as session:  # fmt: skip
        session.execute(sql, params)
        yield session
        session.rollback()


def lock_account(number: str = "A1") -> Any:
    return lock_rows("SELECT 1 FROM paper_account WHERE number = %s FOR NO KEY UPDATE", number)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.fixture
def long_lock_timeout(trader: Trader, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lock time-outs so long that a waiting session keeps its place on a busy machine."""
    sessions.close()
    long_timeouts = "-c lock_timeout=60000 -c statement_timeout=60000"
    monkeypatch.setattr("brokers.paper.db_sessions.OPTIONS", f"{OPTIONS} {long_timeouts}")
    yield
    sessions.close()


def account_id(number: str = "A1") -> int:
    return PaperAccount.objects.get(number=number).pk


@pytest.mark.usefixtures("long_lock_timeout")
def test_fill_before_cancel_wins(trader: Trader, pool: ThreadPoolExecutor) -> None:
    [resting] = trader.buy("1000", limit_price="1.09000")
    request = CancelRequest(resting.client_order_id, resting.broker_order_id, "EURUSD")
    account = account_id()
    with lock_account():
        fill = pool.submit(quote_processing.on_quotes, [quote("1.08000", trader.now)])
        until(lambda: brokers_waiting() == 1)
        cancel = pool.submit(account_actions.cancel, account, request)
        until(lambda: brokers_waiting() == 2)
    assert fill.result(60) == 1
    reports = cancel.result(60)
    assert [r.kind for r in reports] == [ReportKind.CANCEL_REFUSED, ReportKind.FILLED]
    assert reports[1].fills == trader.new_events()[0].fills
    assert PaperOrder.objects.get(pk=int(resting.broker_order_id)).status == "FILLED"


@pytest.mark.usefixtures("long_lock_timeout")
def test_cancel_before_fill_wins(trader: Trader, pool: ThreadPoolExecutor) -> None:
    [resting] = trader.buy("1000", limit_price="1.09000")
    request = CancelRequest(resting.client_order_id, resting.broker_order_id, "EURUSD")
    account = account_id()
    with lock_account():
        cancel = pool.submit(account_actions.cancel, account, request)
        until(lambda: brokers_waiting() == 1)
        fill = pool.submit(quote_processing.on_quotes, [quote("1.08000", trader.now)])
        until(lambda: brokers_waiting() == 2)
    reports = cancel.result(60)
    assert [(r.kind, r.code) for r in reports] == [(ReportKind.CANCELLED, Code.OWNER_CANCELLED)]
    assert fill.result(60) == 0
    assert trader.new_events() == []
    assert PaperFill.objects.count() == 0


def test_repeated_cancel_returns_the_same_reports(trader: Trader) -> None:
    [resting] = trader.buy("1000", limit_price="1.09000")
    assert trader.cancel(resting) == trader.cancel(resting)
    assert trader.price("1.08000") == 0


def test_cancel_of_missing_order_is_refused(trader: Trader) -> None:
    request = CancelRequest("never", "", "EURUSD")
    [report] = trader.run(trader.adapter.cancel(trader.spec(), request))
    assert (report.kind, report.client_order_id) == (ReportKind.CANCEL_REFUSED, "never")


def test_remainder_of_partly_filled_order_is_cancelled(trader: Trader) -> None:
    trader.set(partial_fill_max=D(400))
    [first] = trader.buy("1000")
    reports = trader.cancel(first)
    assert [r.kind for r in reports] == [ReportKind.FILLED, ReportKind.CANCELLED]
    assert reports[0].fills[0].broker_fill_id == first.fills[0].broker_fill_id
    assert trader.price("1.10000") == 0
    assert [p.quantity for p in trader.positions()] == [D(400)]


@pytest.mark.usefixtures("long_lock_timeout")
def test_quote_waits_for_order_being_placed(trader: Trader, pool: ThreadPoolExecutor) -> None:
    """A quote waits for orders that are being placed, and then sees them."""
    incoming_order = IncomingOrder(
        account_id(), trader.request(Side.BUY, "1000", limit_price="1.09000")
    )
    with lock_account():
        order = pool.submit(take_orders, [incoming_order], trader.guard)
        until(lambda: brokers_waiting() == 1)
        price = pool.submit(quote_processing.on_quotes, [quote("1.08000", trader.now)])
        until(lambda: brokers_waiting() == 2)  # although it affects no order that it knows of
    [reply] = order.result(60)
    assert reply is not None
    assert isinstance(reply.answer, list)
    assert reply.answer[0].kind is ReportKind.ACCEPTED
    assert price.result(60) == 1


@pytest.mark.usefixtures("long_lock_timeout")
def test_order_waits_for_quote_being_processed(trader: Trader, pool: ThreadPoolExecutor) -> None:
    trader.buy("1000", stop_loss="1.09000")
    trader.account("A2")
    incoming_order = IncomingOrder(account_id("A2"), trader.request(Side.BUY, "1000", "A2"))
    with lock_account():  # keeps the quote from being processed
        price = pool.submit(quote_processing.on_quotes, [quote("1.08000", trader.now)])
        until(lambda: brokers_waiting() == 1)
        order = pool.submit(take_orders, [incoming_order], trader.guard)
        until(lambda: brokers_waiting() == 2)
    assert price.result(60) == 1
    [reply] = order.result(60)
    assert reply is not None
    assert isinstance(reply.answer, list)
    assert reply.answer[0].fills[0].price == D("1.08002")


def test_order_of_another_symbol_does_not_wait(trader: Trader, pool: ThreadPoolExecutor) -> None:
    trader.price("0.86000", symbol="NZD/USD")
    with lock_rows("SELECT pg_advisory_xact_lock(%s, hashtext('NZDUSD'))", EXCHANGE_LOCKS):
        [report] = pool.submit(trader.buy, "1000").result(60)
        assert report.kind is ReportKind.FILLED


def test_locked_account_delays_only_its_own_order(trader: Trader, pool: ThreadPoolExecutor) -> None:
    for number in ("A2", "A3"):
        trader.account(number)
    incoming_orders = [
        IncomingOrder(account_id(n), trader.request(Side.BUY, "1000", n))
        for n in ("A1", "A2", "A3")
    ]
    with lock_account("A2"):
        orders = pool.submit(take_orders, incoming_orders, trader.guard)
        until(lambda: PaperFill.objects.count() == 2)
        assert not orders.done()
    assert all(reply is not None for reply in orders.result(60))
    assert PaperFill.objects.count() == 3


def test_concurrent_calls_on_same_accounts_lose_no_order(trader: Trader) -> None:
    numbers = [f"C{i}" for i in range(20)]
    for number in numbers:
        trader.account(number)

    async def work() -> list[list[OrderReport]]:
        outcomes: list[list[OrderReport]] = []
        calls = []
        for round_ in range(8):
            order = numbers if round_ % 2 else numbers[::-1]
            requests = [trader.request(Side.BUY, "1000", n) for n in order]
            calls.append(
                trader.adapter.submit_many(
                    [(trader.spec(r.account), r) for r in requests],
                    trader.guard,
                    lambda _, outcome: outcomes.append(outcome),  # type: ignore[arg-type]
                )
            )
        await asyncio.gather(*calls)
        return outcomes

    outcomes = trader.run(work())
    assert len(outcomes) == 160
    assert all(reports[0].kind is ReportKind.FILLED for reports in outcomes)
    assert len({reports[0].fills[0].broker_fill_id for reports in outcomes}) == 160
    assert PaperFill.objects.count() == 160


@pytest.mark.usefixtures("long_lock_timeout")
def test_concurrent_exits_close_a_position_once(trader: Trader, pool: ThreadPoolExecutor) -> None:
    [entry] = trader.buy("1000")
    exits = [
        IncomingOrder(
            account_id(),
            trader.request(
                Side.SELL, "1000", reduce_only=True, broker_position_id=entry.broker_position_id
            ),
        )
        for _ in range(2)
    ]
    with lock_account():
        futures: list[Future[Any]] = [pool.submit(take_orders, [e], trader.guard) for e in exits]
        until(lambda: brokers_waiting() == 2)
    answers = [future.result(60)[0].answer for future in futures]
    assert sorted(type(answer).__name__ for answer in answers) == ["Rejected", "list"]
    assert trader.positions() == []
    assert PaperFill.objects.filter(is_exit=True).count() == 1
