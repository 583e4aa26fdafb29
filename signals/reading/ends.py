"""Until when a draft may be sent, and what is wrong with its times. Pure: `now` is given."""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Any

from common.errors import InvalidInputError
from common.operational.current import settings_now
from common.reason_codes import Code
from signals.field_error import FieldError
from signals.models import Action, OrderType, Origin
from signals.reading.draft import SignalDraft
from signals.reading.validation import condition_errors
from signals.slicing import STYLE_FIELDS, style_errors

# A program sends them, and they may arrive late: an entry's age counts from when it was sent.
SENT_BY_PROGRAMS = frozenset({Origin.ALERT, Origin.BUS})
# So late an entry that waits for its price may arrive if its sender does not state its end: what a
# bus kept during a downtime was meant for the market of then. Once published, it rests as long as
# any other. An equal alert without an external id within this time is a retry.
REPLAY_WINDOW = timedelta(minutes=5)


def valid_until_of(draft: SignalDraft, origin: Origin, now: datetime) -> datetime | None:
    """Return until when a signal may be sent; a program's market entry always has an end.

    now: the market time at which the draft arrived.
    """
    valid_until = _own_end(draft, now)
    if origin not in SENT_BY_PROGRAMS or draft.has_condition:  # its age counts from when that holds
        return valid_until
    first_until = _market_entry_until(draft)
    if first_until is not None and draft.duration_seconds:  # its first slice is that old at most
        first_until += timedelta(seconds=draft.duration_seconds)
    ends = (valid_until, first_until)
    return min((end for end in ends if end is not None), default=None)


def end_errors(
    draft: SignalDraft, origin: Origin, now: datetime, failed: Collection[str]
) -> Iterator[FieldError]:
    """Yield what is wrong with the times of a draft. now: market time.

    failed: fields that could not be read, so that what depends on them is not compared.
    """
    if draft.close_at is not None and draft.close_at <= now:
        detail = f"close_at {draft.close_at.isoformat()} has passed; it is {now.isoformat()}."
        yield FieldError(Code.SIGNAL_ENDED, "close_at", detail)
    if draft.valid_for is None and draft.valid_until is not None and draft.valid_until <= now:
        detail = f"valid_until {draft.valid_until.isoformat()} has passed; it is {now.isoformat()}."
        yield FieldError(Code.SIGNAL_ENDED, "valid_until", detail)
    until = _own_end(draft, now)
    is_read = not {*failed} - {"feed"}
    if until is not None and until > now and draft.execution_style and is_read:
        values: dict[str, Any] = {"valid_until": until}
        values |= {name: getattr(draft, name) for name in (*STYLE_FIELDS, "action")}
        yield from style_errors(values, now=max(now, draft.not_before or now))
    if origin in SENT_BY_PROGRAMS and (error := _too_old_to_enter(draft, origin, now)):
        yield FieldError(error.code, error.field, error.detail)
    if until is not None and until > now and not {"not_before", "close_at"} & set(failed):
        for name, detail in condition_errors((), draft.not_before, until):
            yield FieldError(Code.FIELD_INVALID, name, detail)


def _own_end(draft: SignalDraft, now: datetime) -> datetime | None:
    """Return until when a draft may be sent by its own fields; None: it has no end."""
    until = draft.valid_until
    if draft.valid_for is not None:
        until = now + timedelta(seconds=draft.valid_for)
    if draft.close_at is not None and draft.action == Action.OPEN:
        return min(until or draft.close_at, draft.close_at)  # nothing is entered to close at once
    return until


def _market_entry_until(draft: SignalDraft) -> datetime | None:
    """Return when a market entry becomes too old by its sender's time; None for other drafts."""
    if draft.sent_at is None or draft.action != Action.OPEN or draft.order_type != OrderType.MARKET:
        return None
    return draft.sent_at + timedelta(seconds=settings_now().execution.market_entry_max_age_seconds)


def _too_old_to_enter(
    draft: SignalDraft, origin: Origin, now: datetime
) -> InvalidInputError | None:
    """Return the error for a program's entry that arrives too late; None if it does not."""
    if draft.sent_at is None or draft.action != Action.OPEN:
        return None
    if draft.order_type == OrderType.MARKET:
        what, most = "A market entry", settings_now().execution.market_entry_max_age_seconds
    elif origin == Origin.BUS and _own_end(draft, now) is None:
        what, most = "An entry without valid_until", int(REPLAY_WINDOW.total_seconds())
    else:  # it has an end; an alert waits for a worker as long as `alerts/inbox/storing.py` lets it
        return None
    if draft.sent_at + timedelta(seconds=most) > now:
        return None
    age = int((now - draft.sent_at).total_seconds())
    detail = (
        f"It was sent at {draft.sent_at.isoformat()}, {age} s ago. {what} must not be older than "
        f"{most} s."
    )
    return InvalidInputError(Code.ALERT_TOO_OLD, detail, field="time")
