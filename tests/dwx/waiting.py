"""Wait for a condition, for the confirmed absence of an order, or for an event."""

import asyncio
import threading
from collections.abc import Callable
from itertools import count

from brokers.base import ReadFailed
from brokers.types import OrderReport
from tests.dwx.factories import Account, run
from tests.until import until, until_async

WAIT_SECONDS = 120.0


def start_thread(action: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def wait_until_absent(account: Account, client_order_id: str) -> None:
    """Wait until an order is confirmed absent; prices change meanwhile."""
    prices = count()

    def is_certain() -> bool:
        step = next(prices)
        account.terminal.simulate(
            "price", symbol="EURUSD", bid=1.1 + step / 1e5, ask=1.2 + step / 1e5
        )
        try:
            assert account.find(client_order_id) is None
        except ReadFailed:
            return False
        return True

    until(is_certain)


async def wait_for_event(account: Account, matches: Callable[[OrderReport], bool]) -> OrderReport:
    """Return the next event that matches."""
    async with asyncio.timeout(WAIT_SECONDS):
        async for _ in account.adapter.stream_events():
            for event in await account.adapter.events(100):
                if matches(event):
                    return event
    raise AssertionError("the stream ended")


def event_after(
    account: Account, action: Callable[[], object], matches: Callable[[OrderReport], bool]
) -> OrderReport:
    """Connect, run the action, and return the next event that matches."""

    async def listen() -> OrderReport:
        await account.adapter.connect(account.spec)
        await until_async(lambda: account.adapter._watch._watched["c1"].mark is not None)
        await asyncio.to_thread(action)
        return await wait_for_event(account, matches)

    return run(listen())


def is_exit(event: OrderReport) -> bool:
    return event.close_cause is not None
