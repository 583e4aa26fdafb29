"""The event loop on which this process calls brokers; set by the trading runtime, an app above."""

import asyncio
from typing import Protocol
from weakref import WeakSet

from common.clocks import machine_time


class LoopClient(Protocol):
    """A follower of prices that runs on the loop."""

    def close(self) -> None:
        """Request its end; return at once."""

    def wait_ended(self, seconds: float) -> bool:
        """Wait for its end, at most so many seconds. Return whether it has ended."""


_loop: asyncio.AbstractEventLoop | None = None
_clients: WeakSet[LoopClient] = WeakSet()


def set_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Set the loop on which this process calls brokers; None: it calls none any more."""
    global _loop
    _loop = loop


def get_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop on which this process calls brokers; None if it calls none."""
    return _loop


def register(client: LoopClient) -> None:
    """Have `shutdown` end this client before the loop stops."""
    _clients.add(client)


def shutdown(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """End every client of this loop, which is about to stop; wait at most so many seconds.

    A client that went on would open the sessions again that are being closed.
    """
    if _loop is not loop:
        return
    set_loop(None)
    clients, deadline = list(_clients), machine_time() + seconds
    for client in clients:
        client.close()
    for client in clients:
        client.wait_ended(max(0.0, deadline - machine_time()))
