"""One call that changes something at an exchange, from our decision to its answer. No ccxt here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from brokers.base import BrokerError
from common.clocks import machine_time


@dataclass(slots=True)
class GuardedCall:
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


READ_SECONDS = 10.0  # shorter than what an order has for its opening


def priority_read() -> GuardedCall:
    """What an exit or a cancel must know first: it passes the entries, and no poll is before."""
    return GuardedCall(_allow, again=True, urgent=True, until=machine_time() + READ_SECONDS)


def _allow() -> None:
    """A question changes nothing."""


_CURRENT: ContextVar[GuardedCall | None] = ContextVar("crypto_flight", default=None)


def current_call() -> GuardedCall | None:
    """The flight that this request belongs to; None: a read."""
    return _CURRENT.get()


@contextmanager
def as_current(flight: GuardedCall) -> Iterator[GuardedCall]:
    """Make all requests of this block, in whatever task they are written, part of a flight."""
    token = _CURRENT.set(flight)
    try:
        yield flight
    finally:
        _CURRENT.reset(token)
