"""One call that changes something at an exchange, from our decision to its answer. No ccxt here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from brokers.base import BrokerError


@dataclass(slots=True)
class Flight:
    """What is known of a call on its way. may_leave: raises a BrokerError right before the write.

    left: bytes may have left; refused: why they did not. status, body: what came back. again:
    whether the same request may be written a second time (a cancel may, an order never). urgent: it
    goes before others in the budgets. until: machine_time() after which it need not leave.
    """

    may_leave: Callable[[], None]
    again: bool = False
    urgent: bool = False
    until: float | None = None
    left: bool = False
    refused: BrokerError | None = None
    status: int = 0
    body: str = ""

    def ask(self) -> bool:
        """Ask whether the bytes that are ready may leave now; they are written right after."""
        if self.left and not self.again:
            return False
        try:
            self.may_leave()
        except BrokerError as error:
            self.refused = error
            return False
        self.left = True
        return True


_CURRENT: ContextVar[Flight | None] = ContextVar("crypto_flight", default=None)


def current() -> Flight | None:
    """The flight that this request belongs to; None: a read."""
    return _CURRENT.get()


@contextmanager
def flying(flight: Flight) -> Iterator[Flight]:
    """Make all requests of this block, in whatever task they are written, part of a flight."""
    token = _CURRENT.set(flight)
    try:
        yield flight
    finally:
        _CURRENT.reset(token)
