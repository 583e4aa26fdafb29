"""Which alerts a feed takes: approved, of this moment, about its symbols."""

from dataclasses import replace

from alerts.reading import Alert, AlertOrder, AlertSignal, AlertUpdate, only_feed
from common.clocks import market_now
from common.errors import NotAllowedError
from common.reason_codes import Code
from signals.feeds.alert_rules import entry_symbol_error
from signals.field_error import FieldError
from signals.models import Feed
from signals.reading.ends import REPLAY_WINDOW
from signals.reading.errors import InvalidSignalError, field_errors


def require_approved(feed: Feed) -> None:
    """Raise NotAllowedError FEED_NOT_APPROVED for a feed whose alerts are refused."""
    if not feed.is_approved:
        raise NotAllowedError(Code.FEED_NOT_APPROVED)


def require_acceptable(
    feed: Feed, alert: Alert, *, is_signed: bool = False, is_edit: bool = False
) -> None:
    """Raise InvalidSignalError for an alert that the feed does not take: by its time, or its
    symbol."""
    _verify_time(alert, is_signed=is_signed)
    if isinstance(alert, AlertUpdate) or is_edit:
        return
    opens = alert.draft if isinstance(alert, AlertSignal) else alert.opening
    closes = isinstance(alert, AlertOrder) and alert.closes
    error = None if closes else entry_symbol_error(feed, opens)
    if error is not None:
        raise InvalidSignalError(field_errors(error), (opens,) if opens else ())


def _verify_time(alert: Alert, *, is_signed: bool) -> None:
    """Raise InvalidSignalError for an alert that could be replayed: too old, or without a time."""
    if isinstance(alert, AlertOrder):
        sent_at, has_external_id = alert.sent_at, False
        opening = alert.opening or only_feed(alert.feed)
        drafts = (replace(opening, feed=alert.feed),)
    elif isinstance(alert, AlertUpdate):
        sent_at, has_external_id, drafts = alert.sent_at, False, (only_feed(""),)
    else:
        sent_at, has_external_id = alert.draft.sent_at, bool(alert.draft.external_id)
        drafts = (alert.draft,)
    if sent_at is None:
        if is_signed and not has_external_id:
            detail = "A signed alert needs its time or an external_id, so that it works only once."
            raise InvalidSignalError([FieldError(Code.FIELD_REQUIRED, "time", detail)], drafts)
        return
    now = market_now()
    if abs(now - sent_at) > REPLAY_WINDOW:
        detail = f"It was sent at {sent_at.isoformat()}; the time here is {now.isoformat()}."
        raise InvalidSignalError([FieldError(Code.ALERT_TOO_OLD, "time", detail)], drafts)
