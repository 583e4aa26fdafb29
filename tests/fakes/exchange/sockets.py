"""Serves the websockets of a fake exchange, with faults: refused keys, dropped connections, lost
and doubled messages, expired listen keys."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiohttp import WSMsgType, web

from tests.fakes.exchange.streams import Stream
from tests.fakes.exchange.venue import Venue

LOOK_SECONDS = 0.002
Seen = dict[int, tuple[Any, ...]]


class Sockets:
    """The open websockets of a server. Change its flags from any thread.

    opened: how many have connected so far; refused: how many were not let in (is_refusing);
    pushed: how many messages; addresses: where to. is_mute: nothing is pushed, as if each message
    was lost. repeats: how often each is pushed. confirms_nothing: no message of a client's is
    answered.
    """

    def __init__(self, stream_class: type[Stream], accounts: Mapping[str, Venue]) -> None:
        self._stream_class, self._accounts = stream_class, accounts
        self._live: dict[web.WebSocketResponse, tuple[Stream, web.Request]] = {}
        self.opened = self.refused = self.pushed = 0
        self.is_mute = self.is_refusing = self.confirms_nothing = False
        self.answers_pings = True  # of the connections made from now on
        self.quiet_looks = 0  # without anything to push
        self.next: list[Any] = []  # messages to push to the first client that listens
        self.repeats = 1
        self.addresses: list[str] = []

    @property
    def live(self) -> int:
        """How many websockets are open."""
        return len(self._live)

    @property
    def live_with_orders(self) -> int:
        """How many of them get the news of an account."""
        return sum(1 for stream, _ in list(self._live.values()) if stream.account is not None)

    def drop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Break all connections, as a lost network does."""
        loop.call_soon_threadsafe(self._drop)

    def _drop(self) -> None:
        for _, request in self._live.values():
            if request.transport is not None:
                request.transport.abort()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one client until it goes."""
        self.addresses.append(request.path_qs)
        if self.is_refusing:
            self.refused += 1
            return web.Response(status=503, text="<html>unavailable</html>")
        stream = self._stream_class(self._accounts, request.path, request.query_string)
        pushes = _Pushes(stream, next(iter(self._accounts.values())))
        socket = web.WebSocketResponse(autoping=self.answers_pings)
        await socket.prepare(request)
        self.opened += 1
        self._live[socket] = stream, request
        pushing = asyncio.create_task(self._push(socket, pushes))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    replies = [] if self.confirms_nothing else stream.answer(message.data)
                    pushes.begin()
                    for reply in replies:
                        await _send(socket, reply)
        finally:
            del self._live[socket]
            pushing.cancel()
        return socket

    async def _push(self, socket: web.WebSocketResponse, pushes: "_Pushes") -> None:
        with suppress(ConnectionError):
            while not socket.closed:
                news = pushes.next()
                if self.next:
                    news.append(self.next.pop(0))
                self.quiet_looks = 0 if news else self.quiet_looks + 1
                for one in [] if self.is_mute else news * self.repeats:
                    self.pushed += 1
                    await _send(socket, one)
                await asyncio.sleep(LOOK_SECONDS)


class _Pushes:
    """What one client has not been sent yet. prices_of: whose prices it may follow."""

    def __init__(self, stream: Stream, prices_of: Venue) -> None:
        self._stream, self._prices_of = stream, prices_of
        self._orders: Seen | None = None
        self._trades = self._generation = 0
        self._prices: dict[str, Any] = {}
        self.begin()

    def begin(self) -> None:
        """Note what there is, once it has subscribed to an account's orders."""
        if (venue := self._stream.account) is not None and self._orders is None:
            with venue.lock:
                self._trades, self._generation = len(venue.trades), venue.stream_generation
                self._orders = {one.number: _state(one) for one in venue.orders}

    def next(self) -> list[Any]:
        """Return the messages for what has changed since the last call."""
        venue = self._stream.account
        found = [] if venue is None else self._of_account(venue)
        for symbol in self._stream.symbols:
            top = self._prices_of.best_bid_ask(symbol)
            if self._prices.get(symbol) != top:
                self._prices[symbol] = top
                found.append(self._stream.price_news(self._prices_of, symbol))
        return found

    def _of_account(self, venue: Venue) -> list[Any]:
        found: list[Any] = []
        with venue.lock:
            before, self._orders = self._orders or {}, {}
            trades, self._trades = venue.trades[self._trades :], len(venue.trades)
            for order in venue.orders:
                state = self._orders[order.number] = _state(order)
                done = [one for one in trades if one.order is order]
                found += [self._stream.order_news(order, one) for one in done]
                if not done and before.get(order.number) != state:
                    found.append(self._stream.order_news(order, None))
            if venue.stream_generation != self._generation:
                found += [one for one in [self._stream.key_expired()] if one is not None]
                self._stream.account = None
        return found


def _state(order: Any) -> tuple[Any, ...]:
    return order.status, order.filled, order.amount, order.price, order.trigger


async def _send(socket: web.WebSocketResponse, message: Any) -> None:
    await socket.send_str(message if isinstance(message, str) else json.dumps(message))
