"""On which loop this process calls brokers: who trades here, a room above, says so."""

import asyncio
from typing import Protocol
from weakref import WeakSet

from common.clocks import machine_time


class LoopClient(Protocol):
    """Who follows prices on the loop."""

    def close(self) -> None:
        """Ask it to end."""

    def wait_ended(self, seconds: float) -> bool:
        """Wait so long for its end."""


_loop: asyncio.AbstractEventLoop | None = None
_clients: WeakSet[LoopClient] = WeakSet()


def set_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Let brokers be followed on this loop, the one on which this process calls them; None: end."""
    global _loop
    _loop = loop


def get_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop on which this process calls brokers; None: it calls none."""
    return _loop


def register(client: LoopClient) -> None:
    """Note who is to be ended before the loop is."""
    _clients.add(client)


def shutdown(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """Have nobody follow prices on this loop any more: it is about to stand still, and sessions
    that are ended now would be begun again. Waits so long at most."""
    if _loop is not loop:
        return
    set_loop(None)
    clients, until = list(_clients), machine_time() + seconds
    for client in clients:
        client.close()
    for client in clients:
        client.wait_ended(max(0.0, until - machine_time()))
