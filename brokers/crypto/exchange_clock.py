"""An exchange's clock, independent of this machine's wall clock.

It continues in machine time from the last comparison, so a jump of our wall clock does not move it.
A jump of theirs is noticed at the next comparison: each minute when executions are read, before an
order is called absent, and before the next request after one that may have been refused for its
time.
"""

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from common.clocks import machine_time


@dataclass(slots=True)
class ExchangeClock:
    """One exchange's clock, for all its accounts on a loop. compared_at:
    machine_time() of the last comparison, None: never; their_ms: the exchange's time then.
    requested_at: machine_time() of its request. doubted_at: machine_time() of the last doubt.
    is_sure: there was no doubt since."""

    compared_at: float | None = None
    their_ms: int = 0
    is_sure: bool = False
    requested_at: float = -math.inf
    doubted_at: float = -math.inf

    def now_ms(self) -> int:
        """Return ms since 1970 by the exchange; before the first comparison, by this machine."""
        if self.compared_at is None:
            return _wall_ms()
        return self.their_ms + int((machine_time() - self.compared_at) * 1000)

    def now(self) -> datetime:
        """Return the same as aware UTC."""
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC)

    def behind_us(self) -> timedelta:
        """Return how far our wall clock is ahead of theirs; negative: theirs is ahead."""
        return timedelta(milliseconds=_wall_ms() - self.now_ms())

    def doubt(self) -> None:
        """Note that a request may have been refused because of its time."""
        self.is_sure, self.doubted_at = False, machine_time()

    async def compare(self, exchange: Any, *, max_age: float = 0.0) -> None:
        """Read the exchange's time, unless it was read within `max_age` seconds. exchange: ccxt's
        object; not all support it. Raises ccxt's errors.

        No account waits for another's request: that account may be rate limited for a while. So
        answers may overtake each other; that of the last request counts.
        """
        compared_at = self.compared_at
        if self.is_sure and compared_at is not None and machine_time() - compared_at < max_age:
            return
        request_time = machine_time()
        their_time = await exchange.fetch_time() if exchange.has.get("fetchTime") else _wall_ms()
        if request_time >= self.requested_at:
            self.their_ms, self.compared_at = int(their_time), machine_time()
            self.requested_at = request_time
            self.is_sure = request_time > self.doubted_at


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
