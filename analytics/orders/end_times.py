"""Until when an entry works, and who ends it then: for API, console and portal. Pure.

The order's signal must be loaded with it.
"""

from dataclasses import dataclass
from datetime import datetime

from execution.models import Order


@dataclass(frozen=True, slots=True)
class EntryEnd:
    """When an entry ends that has not filled. at: market time.

    by_broker: the broker was given this end (GTD). is_emulated: it should have been, and its broker
    has no GTD, so that we end the order.
    """

    at: datetime
    by_broker: bool
    is_emulated: bool

    @property
    def moment(self) -> str:
        """The time, as text."""
        return f"{self.at:%Y-%m-%d %H:%M:%S} UTC"

    @property
    def moment_and_cause(self) -> str:
        """The time and who ends it then, for its owner."""
        if self.by_broker:
            return f"{self.moment}, when its broker ends it"
        if self.is_emulated:
            return f"{self.moment}, when Fillcast cancels it (good till date is emulated)"
        return f"{self.moment}, when Fillcast ends it"

    @property
    def text(self) -> str:
        """Until when it works and who ends it, as a part of a sentence."""
        return f"until {self.moment_and_cause}"


def end_of(order: Order) -> EntryEnd | None:
    """Return when an entry ends that has not filled; None: no time is set, or it has ended."""
    if not order.is_entry or order.done_at is not None or order.signal is None:
        return None
    ours, theirs = order.own_valid_until or order.signal.valid_until, order.expires_at
    if theirs is not None and (ours is None or theirs <= ours):
        return EntryEnd(theirs, True, False)
    return None if ours is None else EntryEnd(ours, False, order.has_emulated_end)
