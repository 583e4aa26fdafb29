"""What an exchange's own clock shows, whatever becomes of ours.

It is counted on in machine time from where it was last compared, so that no jump of this machine's
wall clock moves it. A jump of theirs is seen when the two are compared again: each minute by who
reads executions, at once by who would say that an order is absent, and before the next request
where one was refused, for all we know because of its time.
"""

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from common.clocks import machine_time


@dataclass(slots=True)
class ExchangeClock:
    """One exchange's clock, for all its accounts on a loop. at: machine_time() when it was
    compared, None: never; their_ms: what it showed then. is_sure: nothing speaks against it.
    asked, doubted: machine_time() when that was asked for, and when something last did."""

    at: float | None = None
    their_ms: int = 0
    is_sure: bool = False
    asked: float = -math.inf
    doubted: float = -math.inf

    def now_ms(self) -> int:
        """Milliseconds since 1970 by the exchange; by this machine before the first comparison."""
        if self.at is None:
            return _wall_ms()
        return self.their_ms + int((machine_time() - self.at) * 1000)

    def now(self) -> datetime:
        """The same, aware UTC."""
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC)

    def behind_us(self) -> timedelta:
        """By how much this machine's wall clock is ahead of theirs; negative: theirs is ahead."""
        return timedelta(milliseconds=_wall_ms() - self.now_ms())

    def doubt(self) -> None:
        """A request was refused, for all we know because of its time."""
        self.is_sure, self.doubted = False, machine_time()

    async def compare(self, exchange: Any, *, older: float = 0.0) -> None:
        """Read the exchange's time, unless it was read within `older` seconds. exchange: ccxt's
        object; not all support it. Raises ccxt's errors.

        No account waits for another's request: that account may be rate limited for a while. So
        answers may overtake each other; that of the last request counts.
        """
        if self.is_sure and self.at is not None and machine_time() - self.at < older:
            return
        asked_at = machine_time()
        their_time = await exchange.fetch_time() if exchange.has.get("fetchTime") else _wall_ms()
        if asked_at >= self.asked:
            self.their_ms, self.at, self.asked = int(their_time), machine_time(), asked_at
            self.is_sure = asked_at > self.doubted


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
