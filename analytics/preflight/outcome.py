"""What became of one replayed signal. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from analytics.preflight.courses import Course
from analytics.preflight.portfolio import Trade
from analytics.preflight.prices import Basis
from brokers.types import OrderType
from common.units import Unit
from execution.submission.outcomes import Decision, Deferred, Intent, Terminated
from execution.submission.rows import OrderRow, SignalRow
from execution.submission.sizing import Denial
from signals.models import Signal


class Case(NamedTuple):
    """One signal to be replayed."""

    signal: Signal
    row: OrderRow
    published: SignalRow
    course: Course


class Fate(StrEnum):
    """What became of a signal: each has one, so their counts add up to the signals.

    NOT_FILLED: an entry that waits, at the broker or the engine, and was never filled.
    FILL_UNKNOWN: one of which no price shows whether it was.
    """

    TRADED = "traded"
    NOT_FILLED = "not_filled"
    FILL_UNKNOWN = "fill_unknown"
    DENIED = "denied"
    NOT_REPLAYED = "not_replayed"


@dataclass(slots=True)
class Outcome:
    """What became of one signal. decision: None if it was not replayed; note: then, why.

    waits: its entry waits for a price. is_held: the engine holds it, and its price never came.
    stop_distance: from the entry to the stop, in `unit`.
    """

    case: Case
    decision: Decision | None = None
    trade: Trade | None = None
    note: str = ""
    waits: bool = False
    is_held: bool = False
    stop_distance: Decimal | None = None
    unit: Unit = Unit.PIPS

    @property
    def denial(self) -> Denial | None:
        """Why it would not have been traded; None: it would have, or it was not replayed."""
        if isinstance(self.decision, Terminated):
            return self.decision.denial
        if isinstance(self.decision, Deferred):
            return Denial(self.decision.code, detail=self.decision.detail)
        return self.decision if isinstance(self.decision, Denial) else None

    @property
    def fate(self) -> Fate:
        """What became of it. The same for a type that the broker takes and one that it lacks."""
        if self.denial is not None:
            return Fate.DENIED
        if not (self.is_held or isinstance(self.decision, Intent)):
            return Fate.NOT_REPLAYED
        if self.trade is not None and self.trade.is_filled:
            return Fate.TRADED
        if self.case.course.basis is Basis.UNKNOWN:
            return Fate.FILL_UNKNOWN if self.waits else Fate.TRADED
        return Fate.NOT_FILLED


def not_replayed(case: Case) -> str:
    """Return why a signal cannot be replayed; empty: it can."""
    signal = case.signal
    if case.course.market is None:
        return "No price of then is kept, not even the signal’s own."
    if signal.order_type == OrderType.TRAILING_STOP:
        return "Trailing entries cannot be replayed."
    if signal.oco_group is not None:
        return "Pairs of orders of which one cancels the other cannot be replayed."
    if signal.has_condition:
        return "Entries that wait for a time or another signal cannot be replayed."
    return ""
