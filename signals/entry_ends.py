"""When the entries and positions of a published signal end, as the newest MODIFY has it."""

from datetime import datetime

from common.clocks import market_now
from signals.effective_levels import newest_modify
from signals.models import Signal
from signals.reading.validation import entry_end_errors


def close_time(opened: Signal) -> datetime | None:
    """Return the market time at which the signal's positions are closed; None: never by a time.

    The newest MODIFY that set one counts, else the signal's own.
    """
    closes: datetime | None = (newest_modify(opened, "close_at") or opened).close_at
    return closes


def exit_condition(opened: Signal) -> str:
    """Return which state of another signal closes the signal's positions; empty: none does.

    The newest MODIFY that named a signal counts, else the signal's own.
    """
    return (newest_modify(opened, "close_when_signal") or opened).exit_condition_text


def new_end_errors(opened: Signal, end: datetime | None, close_at: datetime | None) -> list[str]:
    """Return why a MODIFY cannot end the signal's entries at this market time; None: it does not.

    close_at: the MODIFY's own closing time.
    """
    if end is None:
        return []
    closes_at = close_at or close_time(opened)
    found = entry_end_errors(end, now=market_now(), closes_at=closes_at, begins=opened.not_before)
    return list(found)
