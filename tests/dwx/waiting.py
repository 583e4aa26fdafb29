"""What a test waits for: that something is so, that an order is certainly absent, an event."""

import asyncio
import threading
from collections.abc import Callable
from itertools import count

from brokers.base import ReadFailed
from brokers.types import OrderReport
from tests.dwx.factories import Owner, run
from tests.fakes.dwx.terminal import until

SOON = 30.0


async def wait_until(is_so: Callable[[], bool]) -> None:
    await asyncio.to_thread(until, is_so)


def meanwhile(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def wait_until_absent(owner: Owner, client_order_id: str) -> None:
    """Wait until its absence is certain; prices move meanwhile."""
    prices = count()

    def is_certain() -> bool:
        step = next(prices)
        owner.terminal.simulate(
            "price", symbol="EURUSD", bid=1.1 + step / 1e5, ask=1.2 + step / 1e5
        )
        try:
            assert owner.find(client_order_id) is None
        except ReadFailed:
            return False
        return True

    until(is_certain, 60)


async def wait_for_event(owner: Owner, is_it: Callable[[OrderReport], bool]) -> OrderReport:
    """Listen to the bell until an event of this kind waits."""
    async with asyncio.timeout(SOON):
        async for _ in owner.adapter.stream_events():
            for one in await owner.adapter.events(100):
                if is_it(one):
                    return one
    raise AssertionError("the bell ended")


def during(
    owner: Owner, act: Callable[[], object], is_it: Callable[[OrderReport], bool]
) -> OrderReport:
    """The event that follows an act of somebody else's, while we are connected."""

    async def listen() -> OrderReport:
        await owner.adapter.connect(owner.spec)
        await wait_until(lambda: owner.adapter._watch._watched["c1"].mark is not None)
        await asyncio.to_thread(act)
        return await wait_for_event(owner, is_it)

    return run(listen())


def left(one: OrderReport) -> bool:
    return one.close_cause is not None
