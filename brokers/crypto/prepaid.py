"""What of the rate limits is set aside for an exit whose stop is about to be removed.

A stop on spot reserves the coins, so it is cancelled before they can be sold. Until the sale the
position is without one. What follows the cancel is therefore taken from the rate limits before it:
then nothing that others request, exits among them, comes in between. What is not used within
PREPAID_SECONDS is given up; until then the address may exceed its rate by it, once.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum

from brokers.crypto.guarded_call import GuardedCall
from brokers.exit_reads import is_exit_read
from common.clocks import machine_time

PREPAID_SECONDS = 10.0


class Kind(StrEnum):
    """The rate limits of an account."""

    HOST = "HOST"
    POINTS = "POINTS"
    ORDERS = "ORDERS"


_REMOVES_STOP: ContextVar[bool] = ContextVar("crypto_removes_stop", default=False)


def begin_removal() -> None:
    """Let the further requests of this task use what was set aside: the cancel and its check."""
    _REMOVES_STOP.set(True)


@dataclass(slots=True)
class Prepaid:
    """What one account has set aside. until: machine_time()."""

    tokens: dict[Kind, float] = field(default_factory=dict)
    until: float = 0.0

    def add(self, kind: Kind, tokens: float) -> None:
        """Set tokens aside that the rate limit has granted."""
        if machine_time() >= self.until:
            self.tokens.clear()
        self.tokens[kind] = self.tokens.get(kind, 0.0) + tokens
        self.until = machine_time() + PREPAID_SECONDS

    def spend(self, kind: Kind, tokens: float, guarded: GuardedCall | None) -> bool:
        """Use what was set aside, if there is enough and the request is of such an exit: what
        follows the cancel of its stop, the read of what is held, or its order."""
        if guarded is None or not guarded.is_urgent or machine_time() >= self.until:
            return False
        is_order = not guarded.is_repeatable
        if not (is_order or _REMOVES_STOP.get() or is_exit_read()):
            return False
        left = self.tokens.get(kind, 0.0) - tokens
        if left < -1e-9:
            return False
        self.tokens[kind] = max(0.0, left)
        return True

    def clear(self) -> None:
        """Give everything up: the exchange has requested a pause."""
        self.tokens.clear()
