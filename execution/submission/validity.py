"""Until when an entry may be sent: what ends it, and what it waits for before it is decided. Pure.

Nothing but what is here ends an entry that waits for a condition or a trigger: limits, halts and
pauses are checked when it is due.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from brokers.types import OrderType
from common.reason_codes import Code
from execution.models import Status
from execution.submission import triggers
from execution.submission.eligibility import find_instrument
from execution.submission.outcomes import (
    ENTRY_WAITS,
    Decision,
    Deferred,
    EvaluationContext,
    Terminated,
)
from execution.submission.rows import OrderRow, SignalRow
from execution.submission.sizing import Denial
from execution.submission.slicing import PlanState


def validity_error(row: OrderRow, signal: SignalRow, context: EvaluationContext) -> Decision | None:
    """Return why an entry must not be sent any more, else None.

    An entry that waited gets the code of what it waited for.
    """
    if ended := _ended(row, signal, context):
        return ended
    if row.terms.max_signal_age_seconds is None:
        return Denial(Code.NO_PRESET)
    age = Decimal(int((context.now - aged_from(row, signal)).total_seconds()))
    # One of the future is no fresher than an old one: the clock was set back since.
    if abs(age) <= (max_seconds := _max_age(row, context)):
        return None
    if (waited := _waited_for(row)) is None:
        return Denial(Code.SIGNAL_TOO_OLD, age, Decimal(max_seconds))
    detail = f"The signal became older than {max_seconds} s while the order waited."
    return Denial(waited, age, Decimal(max_seconds), detail)


def slice_error(
    row: OrderRow, signal: SignalRow, plan: PlanState, context: EvaluationContext
) -> Decision | None:
    """Return why a slice must not be sent, or not yet; None: it may be.

    Its age does not count: it ends when the next slice is due, which then sends it or leaves it
    out.
    """
    if error := validity_error(row, signal._replace(published_at=context.now), context):
        return error
    if code := plan.ended_by():
        return Terminated(Denial(Code.SLICES_ENDED, detail=code.value), Status.CANCELLED)
    if plan.is_late:
        return Terminated(Denial(Code.SLICE_MISSED))
    if plan.has_unknown():
        return Deferred(Code.SLICE_UNKNOWN)
    if plan.quantity() <= 0:
        return Terminated(Denial(Code.SLICE_NOT_NEEDED), Status.CANCELLED)
    return None


def decide_awaited(row: OrderRow, context: EvaluationContext) -> Decision:
    """Decide an entry whose condition does not hold: it ends, or waits on."""
    if ended := _ended(row, context.signal_of(row), context):
        return ended
    awaited = context.awaited.get(row.id)
    if awaited is not None and awaited.is_over:
        return Terminated(Denial(Code.CONDITION_FAILED, detail=awaited.text), Status.CANCELLED)
    return Deferred(Code.AWAITING_CONDITION, detail=awaited.text if awaited else "")


def decide_held(row: OrderRow, context: EvaluationContext) -> Decision:
    """Decide an order whose trigger has not fired, and that the engine holds: it ends, or waits."""
    signal = context.signal_of(row)
    if ended := _ended(row, signal, context):
        return ended
    instrument = find_instrument(row, context)
    quote = context.quotes_of(row).get(row.pair)
    if instrument is None or quote is None or not quote.is_fresh:
        return Deferred(Code.AWAITING_TRIGGER)
    if trail := context.moved_trails.get(row.id):
        return Deferred(Code.AWAITING_TRIGGER, trigger=triggers.on_other_source(row, trail, quote))
    trigger = triggers.trigger_of(row, signal, instrument, quote, context.atrs.get(row.id))
    return Deferred(Code.AWAITING_TRIGGER, trigger=None if isinstance(trigger, Denial) else trigger)


def _ended(row: OrderRow, signal: SignalRow, context: EvaluationContext) -> Terminated | None:
    """Return why an entry is over whatever its age: its signal was withdrawn or has expired, or the
    other leg of its pair was triggered."""
    if row.other_leg_fired:
        return Terminated(Denial(Code.OCO_OTHER_LEG_TRIGGERED), Status.CANCELLED)
    if signal.cancelled_at is not None:
        return Terminated(Denial(Code.SIGNAL_CANCELLED), Status.CANCELLED)
    if signal.is_closed:  # possible after a person's retry
        return Terminated(Denial(Code.CLOSED_BEFORE_SENT), Status.CANCELLED)
    if row.id in context.closed_by:
        detail = context.closed_by[row.id]
        return Terminated(Denial(Code.CONDITION_EXIT, detail=detail), Status.CANCELLED)
    if signal.valid_until is not None and signal.valid_until <= context.now:
        detail = f"Valid until {signal.valid_until:%Y-%m-%d %H:%M:%S} UTC"
        return Terminated(Denial(_waited_for(row) or Code.SIGNAL_EXPIRED, detail=detail))
    return None


def aged_from(row: OrderRow, signal: SignalRow) -> datetime:
    """Return from when an entry's age counts: its publication, or a person's later retry."""
    return row.retried_at or signal.published_at


def seconds_left(row: OrderRow, signal: SignalRow, context: EvaluationContext) -> float:
    """Return the market seconds until `validity_error` ends the entry."""
    ends = aged_from(row, signal) + timedelta(seconds=_max_age(row, context) + 1)
    if signal.valid_until is not None:
        ends = min(ends, signal.valid_until)
    return (ends - context.now).total_seconds()


def _max_age(row: OrderRow, context: EvaluationContext) -> int:
    """Return how old the signal of an entry may be when it is sent, in market seconds."""
    limit = row.terms.max_signal_age_seconds or 0
    if row.order_type == OrderType.MARKET:
        return min(limit, context.market_entry_max_age_seconds)
    return limit


def _waited_for(row: OrderRow) -> Code | None:
    return Code[row.reason] if row.reason in ENTRY_WAITS else None
