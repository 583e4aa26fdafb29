"""Helpers for tests of the paper broker in a separate process."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from brokers.base import ReadFailed
from brokers.types import OrderReport
from tests.paper.broker_process import BrokerProcess, Caller
from tests.until import until


async def find(caller: Caller, client_order_id: str, seconds: float = 60) -> list[OrderReport]:
    """Look an order up until it is found: the connection may be in back-off, or the order may
    still be being placed."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                reports = await caller.adapter.find_order(caller.spec(), client_order_id)
            except ReadFailed:
                reports = None
            if reports:
                return reports
            await asyncio.sleep(0.05)


@contextmanager
def at_the_same_time(
    condition: Callable[[], object], action: Callable[[], object]
) -> Iterator[None]:
    """Run `action` in another thread as soon as `condition` holds."""

    def act() -> None:
        until(condition)
        action()

    thread = threading.Thread(target=act)
    thread.start()
    yield
    thread.join(60)


def fault(broker: BrokerProcess, name: str, *numbers: float) -> None:
    """Inject a fault into the server."""
    client = broker.desk
    try:
        client.fault(name, *numbers)
    finally:
        client.close()
