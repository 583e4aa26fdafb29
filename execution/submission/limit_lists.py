"""Lists of limits, each with the subjects that it counts for. Pure."""

from collections.abc import Callable, Collection
from decimal import Decimal
from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar

from brokers.types import Side
from execution.submission import risk
from execution.submission.entry_prices import PricedEntry
from execution.submission.outcomes import Deferred
from execution.submission.recent import NewEntry, RecentRow
from execution.submission.rows import OrderRow
from execution.submission.signal_limits import SignalBudget
from execution.submission.sizing import Denial

Case = TypeVar("Case")


class Subject(IntEnum):
    """What a limit counts for."""

    ENTRY = 0  # a new entry, or the whole plan of one in slices
    SLICE = 1  # a later slice: its amounts were checked with the whole plan
    PRICE_CHANGE = 2  # another price of an order, whether or not it raises the risk
    GROWTH = 3  # a change that raises what an order may lose or bind


SENT = frozenset({Subject.ENTRY, Subject.SLICE})
PRICED = SENT | {Subject.PRICE_CHANGE}
GROWING = SENT | {Subject.GROWTH}
SIZED = frozenset({Subject.ENTRY, Subject.GROWTH})


class LimitList(Generic[Case]):
    """An ordered list of limits, each with the subjects that it counts for."""

    def __init__(
        self,
        *limits: tuple[Callable[[Case], Denial | Deferred | None], Collection[Subject]],
    ) -> None:
        """Set the limits in the order in which they are checked."""
        self._of = [
            tuple(check for check, subjects in limits if subject in subjects) for subject in Subject
        ]

    def first_broken(self, subject: Subject, case: Case) -> Denial | Deferred | None:
        """Return why a limit stops the subject, of the first one that does; None: none does."""
        for check in self._of[subject]:
            if broken := check(case):
                return broken
        return None


class SizedEntry(NamedTuple):
    """What an entry adds, or a change of one.

    on_account: what the account has with it and not without it. added: what it adds to the day.
    quantity, risk: of the whole order. worth: what it adds to its signal, quote currency. budget:
    what it may add to it, or why that is not known; None: the feed has no limit. priced: a new
    entry at its market.
    """

    row: OrderRow
    side: Side
    on_account: risk.Entry
    added: NewEntry
    quantity: Decimal
    risk: Decimal
    worth: Decimal
    exposure: risk.PortfolioExposure
    recent: RecentRow
    budget: SignalBudget | Denial | None
    priced: PricedEntry | None = None
