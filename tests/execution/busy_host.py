"""A host whose slots are all taken: further calls to it wait."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from execution.dispatch.background_calls import MAX_PER_HOST, BackgroundCall
from execution.runtime.trading_runtime import TradingRuntime
from tests.until import until


@dataclass(frozen=True)
class Holder:
    """An account whose call holds a slot; its lane is the general one."""

    broker_host: str
    connection_id: int
    lane: str = ""


@contextmanager
def occupied(trading: TradingRuntime, host: str) -> Iterator[None]:
    """Hold every slot of a host until the block ends."""
    held, released = threading.Semaphore(0), threading.Event()

    async def call() -> None:
        held.release()
        while not released.is_set():  # past its time-out too
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    holders = [
        BackgroundCall(("holder", n), Holder(host, n), call, lambda done: None)
        for n in range(MAX_PER_HOST)
    ]
    trading.dispatcher.background_calls.start(holders)
    try:
        for _ in holders:
            assert held.acquire(timeout=60)
        yield
    finally:
        released.set()


def give_up_queued(trading: TradingRuntime, calls: int = 1) -> None:
    """Wait until so many calls wait for a slot, and end them as their time-out would."""
    runner = trading.dispatcher.background_calls
    until(lambda: len(runner._waiting) == calls)
    runner.cancel_queued()
