"""The market data lines of a session: prices of one contract each, as TWS sends them.

Bid and ask arrive separately; -1 means that a side is empty. Delayed prices are neither requested
nor accepted: no decision may depend on them.
Source: IBKR Campus, "TWS API: Live Market Data"; ib_async 2.1 decoder.py `priceSizeTick`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal

from brokers.base import BrokerError, ReadFailed
from brokers.ibkr import codes, parse
from brokers.types import Quote
from common.clocks import market_now
from common.reason_codes import Code

BID, ASK = 1, 2


class MarketDataLine:
    """The top of book of one subscribed contract. `TwsWrapper` calls it."""

    def __init__(
        self, symbol: str, pair: str, con_id: int, on_change: Callable[["MarketDataLine"], None]
    ) -> None:
        self.symbol, self.con_id = symbol, con_id
        self._pair, self._on_change = pair, on_change
        self.error: BrokerError | None = None
        self.reroute: Callable[[int, str], None] = lambda con_id, exchange: None
        self._sides: dict[int, Decimal | None] = {}
        self._updated_at = market_now()

    def tick(self, tick_type: int, price: float) -> None:
        """Store one side's price."""
        self._updated_at = market_now()
        if tick_type in (BID, ASK):
            self._sides[tick_type] = (parse.to_decimal(price) or Decimal(0)) if price > 0 else None
            self._on_change(self)

    def mark_open(self) -> None:
        """Note another update of the contract: its market is open."""
        self._updated_at = market_now()

    def on_error(self, number: int, text: str) -> None:
        """Handle an error of the subscription: TWS sends no prices, or stops."""
        if number in codes.STILL_LIVE_PRICES:
            return
        code = Code.NO_MARKET_DATA if number in codes.NO_PRICES else Code.REJECTED_BY_BROKER
        self.fail(ReadFailed(code, f"{self.symbol}: {number}: {text}"))

    def clear_quotes(self) -> None:
        """Drop both sides: there is no quote until TWS has sent them again."""
        self._sides.clear()

    def fail(self, error: BrokerError) -> None:
        """End the line: it gets no more prices."""
        self.error = self.error or error
        self._on_change(self)

    @property
    def quote(self) -> Quote | None:
        """The top of book; None while a side is empty or bid and ask are crossed.

        Its time is that of TWS's last update of the contract: after a market closes, TWS keeps the
        last prices, which are then outdated."""
        bid, ask = self._sides.get(BID), self._sides.get(ASK)
        if bid is None or ask is None or bid > ask:  # crossed: the other side's update follows
            return None
        return Quote(self._pair, bid, ask, self._updated_at)


class MarketDataLines(dict[int, MarketDataLine]):
    """One session's market data lines by request id, with the tasks that keep some of them open."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def kept_count(self) -> int:
        """Number of lines that are kept open."""
        return len(self._tasks)

    def keep(self, subscription: Coroutine[None, None, None]) -> None:
        """Run a subscription in a task, until it ends or the session does."""
        task = asyncio.get_running_loop().create_task(subscription)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def clear_quotes(self) -> None:
        """Drop all quotes; the lines stay open."""
        for line in self.values():
            line.clear_quotes()

    def fail(self, error: BrokerError) -> None:
        """End all lines: their subscriptions must be opened again."""
        for line in list(self.values()):
            line.fail(error)

    async def close(self) -> None:
        """Cancel the tasks that keep lines open."""
        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
