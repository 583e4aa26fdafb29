"""What tests of the paper broker as another process do to it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from brokers.base import ReadFailed
from brokers.types import OrderReport
from tests.paper.broker_process import BrokerProcess, Caller, until


async def find(caller: Caller, client_order_id: str, seconds: float = 20) -> list[OrderReport]:
    """Ask until the order is there: the line may be in back-off, the order still in the book's
    hands."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                found = await caller.adapter.find_order(caller.spec(), client_order_id)
            except ReadFailed:
                found = None
            if found:
                return found
            await asyncio.sleep(0.05)


@contextmanager
def at_the_same_time(when: Callable[[], object], then: Callable[[], object]) -> Iterator[None]:
    """Do something in another thread as soon as a state is there."""

    def act() -> None:
        until(when)
        then()

    thread = threading.Thread(target=act)
    thread.start()
    yield
    thread.join(20)


def fault(broker: BrokerProcess, name: str, *numbers: float) -> None:
    desk = broker.desk
    try:
        desk.fault(name, *numbers)
    finally:
        desk.close()
