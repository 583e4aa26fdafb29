"""Time-outs of calls that do not count the wait for a broker's rate limit.

Such a wait is ours: the broker was not asked yet. If it counted, accounts that share a limit would
all time out instead of taking turns.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar

_TIMEOUTS: ContextVar[tuple[asyncio.Timeout, ...]] = ContextVar("call_timeouts", default=())


@asynccontextmanager
async def call_timeout(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError after so many seconds, without those of `uncounted_wait`."""
    async with asyncio.timeout(seconds) as limit:
        token = _TIMEOUTS.set((*_TIMEOUTS.get(), limit))
        try:
            yield
        finally:
            _TIMEOUTS.reset(token)


@contextmanager
def uncounted_wait() -> Iterator[None]:
    """Stop the time-outs of the calls that this task is in, for the block."""
    now = asyncio.get_running_loop().time
    began = now()
    stopped = [(one, when) for one in _TIMEOUTS.get() if (when := one.when()) is not None]
    for limit, _ in stopped:
        _move(limit, None)
    try:
        yield
    finally:
        for limit, when in stopped:
            _move(limit, when + now() - began)


def _move(limit: asyncio.Timeout, when: float | None) -> None:
    """Reschedule a time-out, unless it has passed, or its call has ended before this task."""
    with suppress(RuntimeError):
        if not limit.expired():
            limit.reschedule(when)
