"""The entry point for alerts: TradingView and others that post JSON, with a token in the URL."""

import dataclasses
import hmac

from django.db import transaction

from common.clocks import market_now
from common.errors import FillcastError, InvalidInputError, NotAllowedError
from common.reason_codes import Code
from signals import services
from signals.alert_orders import Outcome, carry_out
from signals.alert_reading import AlertOrder, AlertSignal, ambiguous, only_feed, read_alert
from signals.alert_sequence import lock_alert_order, record_signal, require_in_order
from signals.draft import SignalDraft
from signals.errors import FieldError, InvalidSignalError, field_errors
from signals.feeds import signature_of, token_for
from signals.ingest import REPLAY_WINDOW, referred_pair, save_draft, with_feed_errors
from signals.locks import candidates_shared
from signals.models import Action, Feed, FeedToken, Origin
from signals.open_signals import last_is_unended
from signals.rate import seconds_to_wait
from signals.signing import open_signing_key
from signals.strict_json import MAX_BYTES
from signals.symbol_completion import resolve_pair
from users.tenancy import for_all_tenants, on_behalf_of

ALERTS_PER_MINUTE = 120  # of one feed


class RateLimitedError(FillcastError):
    """Too many requests. retry_after: seconds until the next one is accepted."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(Code.THROTTLED, f"Try again in {retry_after} s.", retry_after=retry_after)
        self.retry_after = retry_after


@transaction.atomic
def receive_alert(*, feed_slug: str, secret: str, body: bytes, signature: str = "") -> Outcome:
    """Carry out an alert at once; return its outcome.

    A repeated alert is recognised: a strategy's order by `AlertOrder.key`, a signal by its external
    id, else by its contents within REPLAY_WINDOW. An alert that arrives after one that was sent
    later is checked against it (`alert_sequence`). signature: X-Fillcast-Signature, for tokens that
    require it.

    Raises InvalidInputError (BODY_TOO_LARGE, FEED_UNKNOWN, ALERT_TOO_OLD, and as `read_alert` and
    `save_draft` do), NotAllowedError FEED_NOT_APPROVED, PERMISSION_DENIED (signature),
    RateLimitedError, ConflictError (ALERT_OUT_OF_ORDER, DUPLICATE_SIGNAL, and as `publish` does).
    Then nothing is written.
    """
    if len(body) > MAX_BYTES:
        raise InvalidInputError(Code.BODY_TOO_LARGE)
    with for_all_tenants():
        token = token_for(feed_slug, secret)
    token.signing_key = open_signing_key(token.signing_key, secret, token.prefix)
    _verify_signature(token, body, signature)  # first: unsigned alerts must not use up the limit
    if wait := seconds_to_wait(f"alerts:{token.feed_id}", limit=ALERTS_PER_MINUTE):
        raise RateLimitedError(wait)
    if not token.feed.is_approved:
        raise NotAllowedError(Code.FEED_NOT_APPROVED)
    with on_behalf_of(token.feed.owner):
        with with_feed_errors(lambda _: token.feed, Origin.ALERT):
            alert = read_alert(body)
            _verify_time(alert, token)
        if isinstance(alert, AlertOrder):
            return carry_out(token.feed, alert)
        return _save_and_publish(token.feed, alert)


def _save_and_publish(feed: Feed, alert: AlertSignal) -> Outcome:
    draft = alert.draft
    opens = draft.action == Action.OPEN
    if draft.sent_at is None:  # the time of sending is not known: there is no order to keep
        candidates_shared(feed.pk)
    else:
        lock_alert_order(feed, draft.pair if opens else referred_pair(feed, draft))
    if opens:  # a MODIFY or CLOSE has the pair of the signal that it refers to
        draft = dataclasses.replace(draft, pair=_resolved(feed, draft))
    if alert.opposite and last_is_unended(feed.pk, draft.pair, alert.opposite):
        known = draft.external_id and feed.signals.filter(external_id=draft.external_id).exists()
        if not known and draft.direction:
            errors = field_errors(ambiguous(draft.direction))
            with with_feed_errors(lambda _: feed, Origin.ALERT):
                raise InvalidSignalError(errors, (only_feed(draft.feed),))
    signal, created = save_draft(feed, draft, origin=Origin.ALERT, by=feed.owner)
    if not signal.is_published and signal.cancelled_at is None:
        require_in_order(feed, signal, draft)
        services.publish(signal.pk, by=feed.owner)
        record_signal(feed, signal, draft)
        signal.refresh_from_db()
    return Outcome((signal,), created)


def _resolved(feed: Feed, draft: SignalDraft) -> str:
    """Return the pair of an alert's symbol. Raises InvalidSignalError with all of its errors."""
    with with_feed_errors(lambda _: feed, Origin.ALERT):
        try:
            return resolve_pair(feed, draft.pair, field=draft.symbol_field)
        except InvalidInputError as error:
            raise InvalidSignalError(field_errors(error), (draft,)) from error


def _verify_signature(token: FeedToken, body: bytes, signature: str) -> None:
    if not token.signing_key:
        return
    expected = signature_of(token.signing_key, body)
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        detail = "X-Fillcast-Signature is not the HMAC-SHA256 of this body under the token's key."
        raise NotAllowedError(Code.PERMISSION_DENIED, detail)


def _verify_time(alert: AlertSignal | AlertOrder, token: FeedToken) -> None:
    """Raise InvalidSignalError for an alert that could be replayed: too old, or without a time."""
    if isinstance(alert, AlertOrder):
        sent_at, has_external_id = alert.sent_at, False
        opening = alert.opening or only_feed(alert.feed)
        drafts = (dataclasses.replace(opening, feed=alert.feed),)
    else:
        sent_at, has_external_id = alert.draft.sent_at, bool(alert.draft.external_id)
        drafts = (alert.draft,)
    if sent_at is None:
        if token.signing_key and not has_external_id:
            detail = "A signed alert needs its time or an external_id, so that it works only once."
            raise InvalidSignalError([FieldError(Code.FIELD_REQUIRED, "time", detail)], drafts)
        return
    now = market_now()
    if abs(now - sent_at) > REPLAY_WINDOW:
        detail = f"It was sent at {sent_at.isoformat()}; the time here is {now.isoformat()}."
        raise InvalidSignalError([FieldError(Code.ALERT_TOO_OLD, "time", detail)], drafts)
