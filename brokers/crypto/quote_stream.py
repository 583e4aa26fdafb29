"""The best bid and ask of symbols by the exchange's public websocket, beside the polls.

While each symbol has been quoted since the connection was made, polls are rarer (`prices.py`); they
stay, since a websocket that has fallen silent looks like a market that does not move.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from brokers.base import BrokerError, outcome_of
from brokers.crypto import order_stream, parse, websockets
from brokers.crypto.client import Client
from brokers.types import ConnectionSpec, Quote
from common.clocks import machine_time
from common.reason_codes import Code

log = logging.getLogger(__name__)
FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0  # before a lost connection is made again
STEADY_SECONDS = 60.0  # after which a lost connection counts as the first failure
CONFLATION_SECONDS = 0.05  # of a symbol's quotes within this time only the latest is read
FINAL = frozenset({Code.FIELD_INVALID, Code.LIBRARY_MISSING, Code.NOT_SUPPORTED})

OpenClient = Callable[[], Awaitable[Client]]
OpenStream = Callable[[Client, ConnectionSpec], Any]


class QuoteStream:
    """The newest quotes of some symbols, while `running`. For one task."""

    def __init__(
        self,
        spec: ConnectionSpec,
        symbols: Sequence[str],
        open_client: OpenClient,
        open_stream: OpenStream,
    ) -> None:
        self._spec, self._symbols = spec, symbols
        self._open_client, self._open_stream = open_client, open_stream
        self._arrived: dict[str, Quote] = {}  # by pair: not taken yet
        self._quoted_at: dict[str, float] = {}  # by pair, of this connection: machine_time()
        self._tickers: dict[str, Any] = {}  # ccxt's last ones: another object is a newer one
        self._changed = asyncio.Event()
        self._failed: Code | None = None

    @property
    def is_live(self) -> bool:
        """Whether each symbol has been quoted since the connection was made."""
        return len(self._quoted_at) == len(self._symbols)

    def was_quoted_since(self, pair: str, moment: float) -> bool:
        """Whether a quote of this pair has arrived since a moment of machine_time()."""
        return self._quoted_at.get(pair, float("-inf")) >= moment

    def doubt(self, pair: str) -> None:
        """Note that a poll knows another price of this pair: it counts as not quoted again."""
        self._quoted_at.pop(pair, None)

    def wake(self, _: object = None) -> None:
        """End the wait of `next`."""
        self._changed.set()

    async def next(self, seconds: float | None) -> list[Quote]:
        """Return the quotes that have arrived; wait for them, at most so long, or until the
        connection is lost. None: no limit."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()
        arrived, self._arrived = self._arrived, {}
        return list(arrived.values())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the connection inside the block."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            began = machine_time()
            error = await outcome_of(self._connect())
            was_live, self._quoted_at, self._tickers = self.is_live, {}, {}
            code = error.code if isinstance(error, BrokerError) else Code.UNEXPECTED
            self._report(code, error, was_live=was_live)
            self.wake()
            if code in FINAL:
                return
            if machine_time() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, MAX_PAUSE)

    async def _connect(self) -> None:
        """Read quotes by one connection. Raises what has ended it, as ReadFailed."""
        client = await self._open_client()
        await client.rate_limits.admit_connection()
        exchange = self._open_stream(client, self._spec)
        exchange.conflates = CONFLATION_SECONDS
        exchange.on_news = lambda _: self._take(client, exchange)
        exchange.on_open = websockets.ignore
        watch = getattr(exchange, client.rules.watches_prices)
        async with websockets.reading(exchange, lambda: watch(list(self._symbols))) as task:
            error = await outcome_of(task)
        raise order_stream.read_failed(error or TimeoutError(), client, self._spec)

    def _take(self, client: Client, exchange: Any) -> None:
        """Take the quotes that ccxt has read: some methods keep them as bids and asks."""
        for symbol in self._symbols:
            ticker = exchange.bidsasks.get(symbol) or exchange.tickers.get(symbol)
            if ticker is None or ticker is self._tickers.get(symbol):
                continue
            self._tickers[symbol] = ticker
            market = client.market(symbol)
            quote = parse.quote(ticker, f"{market['base']}/{market['quote']}", datetime.now(UTC))
            if quote is not None:
                self._arrived[quote.symbol] = quote
                self._quoted_at[quote.symbol] = machine_time()
                self._failed = None
                self._changed.set()

    def _report(self, code: Code, error: object, *, was_live: bool) -> None:
        """Log a lost connection, once until it delivers again or fails for another reason."""
        if was_live or code is not self._failed:
            log.warning(
                "prices of %s are polled; its websocket is opened again automatically: %s",
                self._spec.exchange_name,
                error,
            )
        self._failed = code
