"""On which loop this process calls brokers: who trades here, a room above, says so."""

import asyncio
from typing import Protocol
from weakref import WeakSet

from common.clocks import machine_time


class Guest(Protocol):
    """Who follows prices on the loop."""

    def close(self) -> None:
        """Ask it to end."""

    def has_left(self, seconds: float) -> bool:
        """Wait so long for its end."""


_loop: asyncio.AbstractEventLoop | None = None
_guests: WeakSet[Guest] = WeakSet()


def use_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Let brokers be followed on this loop, the one on which this process calls them; None: end."""
    global _loop
    _loop = loop


def loop_of_process() -> asyncio.AbstractEventLoop | None:
    """Return the loop on which this process calls brokers; None: it calls none."""
    return _loop


def enter(guest: Guest) -> None:
    """Note who is to be ended before the loop is."""
    _guests.add(guest)


def clear(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """Have nobody follow prices on this loop any more: it is about to stand still, and sessions
    that are ended now would be begun again. Waits so long at most."""
    if _loop is not loop:
        return
    use_loop(None)
    guests, until = list(_guests), machine_time() + seconds
    for guest in guests:
        guest.close()
    for guest in guests:
        guest.has_left(max(0.0, until - machine_time()))
