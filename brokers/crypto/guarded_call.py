"""One call that changes something at an exchange, from our decision to its answer. Without ccxt."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from brokers.base import BrokerError
from common.clocks import machine_time


@dataclass(slots=True)
class GuardedCall:
    """The state of one call. guard: called right before the write; raises a BrokerError to stop it.

    is_repeatable: whether the request may be written a second time (a cancel may, an order never).
    is_urgent: it goes before other calls in the rate limits. send_by: machine_time() after which it
    is not sent. may_have_left: bytes may have been sent. refusal: the guard's error. status, body:
    the answer. partial_answer: what arrived before the connection ended; it is shown to people and
    proves nothing.
    """

    guard: Callable[[], None]
    is_repeatable: bool = False
    is_urgent: bool = False
    send_by: float | None = None
    may_have_left: bool = False
    refusal: BrokerError | None = None
    status: int = 0
    body: str = ""
    partial_answer: bytes = b""

    def check_guard(self) -> bool:
        """Return whether the bytes that are ready may be sent now; the caller writes them next."""
        if self.may_have_left and not self.is_repeatable:
            return False
        try:
            self.guard()
        except BrokerError as error:
            self.refusal = error
            return False
        self.may_have_left = True
        return True


READ_SECONDS = 10.0  # shorter than the time in which an order must open its account


def priority_read() -> GuardedCall:
    """Return a call for reads that an exit or a cancel needs: it goes before entries and polls."""
    return GuardedCall(
        _allow, is_repeatable=True, is_urgent=True, send_by=machine_time() + READ_SECONDS
    )


def _allow() -> None:
    """Allow it: a read changes nothing."""


_CURRENT: ContextVar[GuardedCall | None] = ContextVar("crypto_guarded_call", default=None)


def current_call() -> GuardedCall | None:
    """Return the call that this request belongs to; None: an ordinary read."""
    return _CURRENT.get()


@contextmanager
def as_current(guarded: GuardedCall) -> Iterator[GuardedCall]:
    """Make all requests of this block part of a call, in any task that writes them."""
    token = _CURRENT.set(guarded)
    try:
        yield guarded
    finally:
        _CURRENT.reset(token)
