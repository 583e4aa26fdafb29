"""One symbol's prices as TWS tells them.

Bid and ask come apart from each other, -1 where a side is empty. Delayed prices are never asked for
and never taken: nothing may be decided by them.
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
    """One contract's top of book, for as long as it is subscribed to. The ear calls it."""

    def __init__(
        self, symbol: str, pair: str, con_id: int, on_change: Callable[["MarketDataLine"], None]
    ) -> None:
        self.symbol, self.con_id = symbol, con_id
        self._pair, self._stir = pair, on_change
        self.error: BrokerError | None = None
        self.reroute: Callable[[int, str], None] = lambda con_id, exchange: None
        self._sides: dict[int, Decimal | None] = {}
        self._told_at = market_now()

    def tick(self, kind: int, price: float) -> None:
        """Take one side's price."""
        self._told_at = market_now()
        if kind in (BID, ASK):
            self._sides[kind] = (parse.exact(price) or Decimal(0)) if price > 0 else None
            self._stir(self)

    def mark_open(self) -> None:
        """Something else of this contract was told: its market is open."""
        self._told_at = market_now()

    def refused(self, number: int, text: str) -> None:
        """TWS will tell no prices, or has ended them."""
        if number in codes.STILL_LIVE_PRICES:
            return
        code = Code.NO_MARKET_DATA if number in codes.NO_PRICES else Code.REJECTED_BY_BROKER
        self.fail(ReadFailed(code, f"{self.symbol}: {number}: {text}"))

    def forget(self) -> None:
        """What was told is old: no price until both sides are told again."""
        self._sides.clear()

    def fail(self, error: BrokerError) -> None:
        """It will tell nothing any more."""
        self.error = self.error or error
        self._stir(self)

    @property
    def quote(self) -> Quote | None:
        """The top of book; None while a side is empty, or the two do not belong together.

        It is of when TWS last told anything of the contract: where a market has closed the last
        prices stay, and are none of now."""
        bid, ask = self._sides.get(BID), self._sides.get(ASK)
        if bid is None or ask is None or bid > ask:  # crossed: the other side comes next
            return None
        return Quote(self._pair, bid, ask, self._told_at)


class MarketDataLines(dict[int, MarketDataLine]):
    """One session's lines by their request id, and who hears some of them for a while."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: set[asyncio.Task[None]] = set()

    @property
    def kept(self) -> int:
        """How many are heard for a while."""
        return len(self._kept)

    def keep(self, hearing: Coroutine[None, None, None]) -> None:
        """Have something heard until it ends by itself, or the session does."""
        task = asyncio.get_running_loop().create_task(hearing)
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    def forget(self) -> None:
        """What was told is no price any more; the lines go on."""
        for line in self.values():
            line.forget()

    def fail(self, error: BrokerError) -> None:
        """What was told is no price any more: the subscriptions begin anew."""
        for line in list(self.values()):
            line.fail(error)

    async def close(self) -> None:
        """Nobody hears anything any more."""
        for task in (kept := list(self._kept)):
            task.cancel()
        await asyncio.gather(*kept, return_exceptions=True)
