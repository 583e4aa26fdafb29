"""One call that changes something at an exchange, from our decision to its answer. No ccxt here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from brokers.base import BrokerError
from common.clocks import machine_time


@dataclass(slots=True)
class Flight:
    """What is known of a call on its way. may_leave: raises a BrokerError right before the write.

    left: bytes may have left; refused: why they did not. status, body: what came back. half: what
    of an answer came before its line ended: people are shown it, it proves nothing. again: whether
    the same request may be written a second time (a cancel may, an order never). urgent: it goes
    before others in the budgets. until: machine_time() after which it need not leave.
    """

    may_leave: Callable[[], None]
    again: bool = False
    urgent: bool = False
    until: float | None = None
    left: bool = False
    refused: BrokerError | None = None
    status: int = 0
    body: str = ""
    half: bytes = b""

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


ASKED_SECONDS = 10.0  # shorter than what an order has for its opening


def question() -> Flight:
    """What an exit or a cancel must know first: it passes the entries, and no poll is before."""
    return Flight(_nothing_against, again=True, urgent=True, until=machine_time() + ASKED_SECONDS)


def _nothing_against() -> None:
    """A question changes nothing."""


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
