"""The private websockets of the exchanges, with ccxt's real client: what they announce, and how
they end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from brokers.base import ReadFailed
from brokers.crypto import exchanges, order_stream, stream_messages
from brokers.crypto.capabilities import capabilities_of
from brokers.crypto.stream_messages import Announcement
from brokers.types import ConnectionSpec
from common.reason_codes import Code
from tests.crypto.factories import (
    D,
    ExchangeAccount,
    account,
    any_account,
    binance,
    close,
    open_account,
)
from tests.fakes.exchange.venue import Order
from tests.until import until_async

__all__ = ["account", "any_account", "binance"]
SECONDS = 60.0


class Listener:
    """Counts what a stream announces. failure: what has ended it."""

    def __init__(self, stream: AsyncIterator[None]) -> None:
        self.count = 0
        self.failure: ReadFailed | None = None
        self._stream, self._changed = stream, asyncio.Event()
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        try:
            async for _ in self._stream:
                self.count += 1
                self._changed.set()
        except ReadFailed as error:
            self.failure = error
        self._changed.set()

    async def until(self, is_so: Callable[[], object]) -> None:
        async with asyncio.timeout(SECONDS):
            while not is_so():
                await self._changed.wait()
                self._changed.clear()


@asynccontextmanager
async def listening(account: ExchangeAccount) -> AsyncIterator[Listener]:
    """Listen, once the exchange has confirmed the subscription."""
    stream: Any = account.adapter.watch_orders(account.spec)
    async with aclosing(stream):
        listener = Listener(stream)
        try:
            await listener.until(lambda: listener.count or listener.failure)
            yield listener
        finally:
            listener.task.cancel()
            await asyncio.wait([listener.task])


async def failure_of(account: ExchangeAccount) -> ReadFailed:
    async with listening(account) as listener:
        await listener.until(lambda: listener.failure)
    assert listener.failure is not None
    return listener.failure


def rest(account: ExchangeAccount) -> Order:
    return account.venue.place(
        account.exchange_symbol, "BUY", "LIMIT", D(1), D("49000.0"), cid="abc00000000000010"
    )


def run(account: ExchangeAccount, call: Coroutine[Any, Any, Any]) -> Any:
    return account.run(asyncio.wait_for(call, 2 * SECONDS))


def test_execution_is_announced_and_a_new_order_is_not(account: ExchangeAccount) -> None:
    async def listen() -> None:
        async with listening(account) as listener:
            order = rest(account)
            await until_async(lambda: account.server.sockets.pushed == 1)
            account.venue.execute(order)  # the messages come in their order
            await listener.until(lambda: listener.count == 2)

    run(account, listen())
    assert account.server.sockets.pushed == 2


@pytest.mark.parametrize("minutes", [-10, 10])
def test_login_is_dated_by_the_exchanges_clock(account: ExchangeAccount, minutes: int) -> None:
    account.venue.skew_ms = minutes * 60_000

    async def listen() -> ReadFailed | None:
        async with listening(account) as listener:
            return listener.failure

    assert run(account, listen()) is None


def test_cancellation_by_the_owner_is_announced(any_account: ExchangeAccount) -> None:
    async def listen() -> None:
        order = rest(any_account)
        async with listening(any_account) as listener:
            any_account.venue.cancel(order)
            await listener.until(lambda: listener.count == 2)

    run(any_account, listen())


def test_messages_that_are_not_consumed_are_one(any_account: ExchangeAccount) -> None:
    async def listen() -> int:
        order = rest(any_account)
        any_account.server.sockets.repeats = 5
        stream: Any = any_account.adapter.watch_orders(any_account.spec)
        async with aclosing(stream):
            await anext(stream)
            venue, sockets = any_account.venue, any_account.server.sockets
            before = sockets.pushed
            for _ in range(9):
                venue.match(order, D("0.1"))
                venue.prices[any_account.exchange_symbol] = D("48000.0")
            venue.execute(order)
            await until_async(lambda: sockets.pushed >= before + 5 and sockets.quiet_looks > 20)
            await anext(stream)
            yields = 1
            while True:
                try:
                    async with asyncio.timeout(0.5):
                        await anext(stream)
                        yields += 1
                except TimeoutError:
                    return yields

    assert run(any_account, listen()) <= 3


def test_dropped_connection_ends_the_stream_and_the_next_one_works(
    account: ExchangeAccount,
) -> None:
    async def listen() -> ReadFailed | None:
        async with listening(account) as listener:
            account.server.drop_sockets()
            await listener.until(lambda: listener.failure)
        order = rest(account)
        async with listening(account) as again:
            account.venue.execute(order)
            await again.until(lambda: again.count == 2)
        return listener.failure

    failure = run(account, listen())
    assert failure.code is Code.BROKER_UNREACHABLE
    assert account.server.sockets.opened == 2


def test_refused_key_is_reported_as_such(account: ExchangeAccount) -> None:
    account.venue.refuses_streams = True
    failure = run(account, failure_of(account))
    is_kraken = account.spec.exchange_name == "kraken"  # its token is refused, not the key
    expected = Code.BROKER_UNREACHABLE if is_kraken else Code.CREDENTIALS_REFUSED
    assert failure.code is expected, failure
    assert account.venue.key not in failure.detail
    assert account.venue.secret not in failure.detail


def test_refused_connection_is_reported_without_the_listen_key(
    account: ExchangeAccount, caplog: pytest.LogCaptureFixture
) -> None:
    account.server.sockets.is_refusing = True
    with caplog.at_level(logging.DEBUG):
        failure = run(account, failure_of(account))
    assert failure.code is Code.BROKER_UNREACHABLE
    assert account.server.sockets.refused == 1
    assert account.venue.listen_key not in failure.detail + caplog.text


def test_connection_without_answers_to_pings_ends(
    binance: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(exchanges.PINGS["ws"], "keepAlive", 100)  # ms

    async def listen() -> ReadFailed | None:
        async with listening(binance) as alive:
            await until_async(
                lambda: binance.server.sockets.quiet_looks > 300
            )  # several pings long
            assert alive.failure is None
        binance.server.sockets.answers_pings = False
        async with listening(binance) as dead:
            await dead.until(lambda: dead.failure)
            return dead.failure

    assert run(binance, listen()).code is Code.BROKER_UNREACHABLE


def test_expired_listen_key_ends_the_stream(binance: ExchangeAccount) -> None:
    async def listen() -> ReadFailed | None:
        async with listening(binance) as listener:
            binance.venue.expire_listen_key()
            await listener.until(lambda: listener.failure)
        async with listening(binance) as again:  # with a new key
            binance.venue.execute(rest(binance))
            await again.until(lambda: again.count == 2)
        return listener.failure

    assert run(binance, listen()).detail == order_stream.CLOSED


def test_subscription_that_is_not_confirmed_ends(
    any_account: ExchangeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_stream, "START_SECONDS", 0.5)
    any_account.load_markets()
    any_account.server.sockets.confirms_nothing = True
    if any_account.spec.exchange_name == "binance":
        any_account = open_account("binance")  # futures confirm nothing
        any_account.load_markets()
        any_account.server.sockets.confirms_nothing = True
    failure = run(any_account, failure_of(any_account))
    assert "not confirmed" in failure.detail


def test_message_that_ccxt_cannot_read_does_not_end_the_stream(binance: ExchangeAccount) -> None:
    bad: dict[str, Any] = {"e": "ORDER_TRADE_UPDATE", "o": [{"fi": 5}], "s": ["x"]}

    async def listen() -> None:
        async with listening(binance) as listener:
            binance.server.sockets.next.append(bad)
            await listener.until(lambda: listener.count == 2)
            binance.venue.execute(rest(binance))
            await listener.until(lambda: listener.count == 3)

    run(binance, listen())


def test_closed_stream_leaves_no_connection(account: ExchangeAccount) -> None:
    async def listen() -> None:
        async with listening(account):
            assert account.server.sockets.live == 1
        await until_async(lambda: not account.server.sockets.live)

    run(account, listen())


def test_unchecked_exchange_announces_nothing() -> None:
    account = open_account("binance")
    spec = ConnectionSpec("c", "main", "bitfinex", {"market": "spot", "symbols": ["BTC/USDT"]})
    assert not capabilities_of(spec).order_stream
    assert capabilities_of(account.spec).order_stream

    async def first() -> None:
        await anext(account.adapter.watch_orders(spec))

    with pytest.raises(ReadFailed) as failed:
        run(account, first())
    assert failed.value.code is Code.NOT_SUPPORTED
    close(account)


@pytest.mark.parametrize(
    ("exchange", "message"),
    [
        ("binance", {"result": None, "id": 1}),
        ("binance", {"e": "ACCOUNT_UPDATE"}),
        ("binance", {"e": "ORDER_TRADE_UPDATE", "o": {"X": "NEW", "x": "NEW"}}),
        ("bybit", {"op": "pong"}),
        ("bybit", {"topic": "wallet", "data": []}),
        ("okx", "pong"),
        ("okx", {"event": "login", "code": "0"}),
        ("kraken", {"channel": "heartbeat"}),
        ("kraken", {"channel": "executions", "type": "snapshot", "data": []}),
        ("another", {"e": "ORDER_TRADE_UPDATE", "o": {"X": "FILLED"}}),
        ("binance", None),
    ],
)
def test_other_messages_announce_nothing(exchange: str, message: Any) -> None:
    assert stream_messages.read(exchange, message) is Announcement.NOTHING


@pytest.fixture(autouse=True)
def no_unretrieved_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """asyncio logs errors that no task awaits; their texts may have a listen key."""
    yield
    assert "never retrieved" not in caplog.text
