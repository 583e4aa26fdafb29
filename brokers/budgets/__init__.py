"""How many requests may leave for a broker: one budget for all processes, exits first.

Then look-ups, entries and reads (`Rank`).

An adapter asks `budget_for` with a name that says whose limit it is ("ibkr 10.0.0.5:4002", "crypto
binance", "crypto binance account <id>") and awaits `acquire` before each request. Processes share a
budget over Redis. Without Redis each has its share of it, at once, and comes back by itself.
See docs/adr/0015-rate-budgets-are-shared-over-redis.md.
"""

import asyncio
import threading
from contextlib import suppress
from typing import Protocol
from weakref import WeakValueDictionary

from brokers.budgets.keeper import Keeper, Place
from brokers.budgets.rates import Rank, Rate

__all__ = ["Budget", "Rank", "Rate", "budget_for", "use"]


class Budget(Protocol):
    """Requests that may leave for one host or account."""

    async def acquire(
        self, n: float = 1, *, rank: Rank = Rank.ENTRY, until: float | None = None
    ) -> None:
        """Wait until n requests may leave together.

        rank: what they are about; lower ones leave before higher ones of all processes. until:
        machine_time(); raises NotSent(RATE_LIMITED) as soon as it is known that the turn would come
        later.
        """
        ...

    def rest(self, seconds: float) -> None:
        """The broker wants no more for so long; heard by all processes."""
        ...


class _Shared:
    """A budget of this process's loops and of all other processes."""

    def __init__(self, name: str, rate: Rate) -> None:
        self._place = Place(name, rate)

    async def acquire(
        self, n: float = 1, *, rank: Rank = Rank.ENTRY, until: float | None = None
    ) -> None:
        await _keeper().acquire(self._place, n, rank, until)

    def rest(self, seconds: float) -> None:
        self._place.rest(seconds)
        with suppress(RuntimeError):  # where no loop runs only this process hears it
            _keeper().tell_rest(self._place)

    def tune(self, rate: Rate) -> None:
        self._place.rate = rate


_url, _processes = "", 1
_budgets: WeakValueDictionary[str, _Shared] = WeakValueDictionary()
_keepers: dict[asyncio.AbstractEventLoop, Keeper] = {}
_lock = threading.Lock()


def use(redis_url: str, processes: int) -> None:
    """Share budgets over this Redis ('': none). processes: how many live, for the share that each
    has without it. Nothing is connected before the first request."""
    global _url, _processes
    _url, _processes = redis_url, max(1, processes)


def budget_for(name: str, rate: Rate) -> Budget:
    """Return the budget of this name, the same for all who ask; the latest rate holds."""
    with _lock:
        found = _budgets.get(name)
        if found is None:
            found = _budgets[name] = _Shared(name, rate)
        found.tune(rate)
        return found


def _keeper() -> Keeper:
    """The running loop's. Raises RuntimeError where none runs."""
    loop = asyncio.get_running_loop()
    keeper = _keepers.get(loop)
    if keeper is None:
        keeper = _keepers[loop] = Keeper(_url, lambda: _processes, lambda: _keepers.pop(loop, None))
    return keeper
