"""The door for alerts (TradingView and whoever can post JSON): a token in the address opens it."""

import hmac

from django.db import transaction

from common.clocks import market_now
from common.codes import Code
from common.errors import FillcastError, InvalidInputError, NotAllowedError
from signals import services
from signals.draft import SignalDraft
from signals.feeds import signature_of, token_for
from signals.intake import read_signal, receive
from signals.models import Door, FeedToken, Signal
from signals.rate import seconds_to_wait
from signals.receiving import REPLAY_WINDOW
from signals.strict_json import MAX_BYTES
from users.tenancy import for_all_tenants, on_behalf_of

ALERTS_A_MINUTE = 120  # a feed's


class TooManyError(FillcastError):
    """It was done too often; `retry_after` says in how many seconds it may be tried again."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(Code.THROTTLED, f"Try again in {retry_after} s.", retry_after=retry_after)
        self.retry_after = retry_after


@transaction.atomic
def take_alert(
    *, feed_slug: str, secret: str, body: bytes, signature: str = ""
) -> tuple[Signal, bool]:
    """Publish what an alert says, at once; return its signal and whether it is new.

    The same alert again (by external id, else by contents within REPLAY_WINDOW) is the same signal.
    signature: X-Fillcast-Signature, for tokens that ask for it. Raises InvalidInputError
    (BODY_TOO_LARGE, FEED_UNKNOWN, ALERT_TOO_OLD and what `read_signal` and `receive` say),
    NotAllowedError FEED_NOT_APPROVED, PERMISSION_DENIED (signature), TooManyError, ConflictError.
    Nothing is written then.
    """
    if len(body) > MAX_BYTES:
        raise InvalidInputError(Code.BODY_TOO_LARGE)
    with for_all_tenants():
        token = token_for(feed_slug, secret)
    _judge_signature(token, body, signature)  # first: whoever cannot sign uses up nothing
    if wait := seconds_to_wait(f"alerts:{token.feed_id}", limit=ALERTS_A_MINUTE):
        raise TooManyError(wait)
    if not token.feed.is_approved:
        raise NotAllowedError(Code.FEED_NOT_APPROVED)
    with on_behalf_of(token.feed.owner):
        draft = read_signal(body)
        _judge_time(draft, token)
        signal, created = receive(token.feed, draft, door=Door.ALERT, by=token.feed.owner)
        if not signal.is_published and signal.cancelled_at is None:
            services.publish(signal.pk, by=token.feed.owner)
            signal.refresh_from_db()
    return signal, created


def _judge_signature(token: FeedToken, body: bytes, signature: str) -> None:
    if not token.signing_key:
        return
    expected = signature_of(token.signing_key, body)
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        detail = "X-Fillcast-Signature is not the HMAC-SHA256 of this body under the token's key."
        raise NotAllowedError(Code.PERMISSION_DENIED, detail)


def _judge_time(draft: SignalDraft, token: FeedToken) -> None:
    """A caught alert must not be good for ever: its own time says how old it is."""
    if draft.sent_at is None:
        if token.signing_key and not draft.external_id:
            detail = "A signed alert needs its time, or an external_id, to be good only once."
            raise InvalidInputError(Code.FIELD_REQUIRED, detail, field="time")
        return
    now = market_now()
    if abs(now - draft.sent_at) > REPLAY_WINDOW:
        detail = f"It says {draft.sent_at.isoformat()}; here it is {now.isoformat()}."
        raise InvalidInputError(Code.ALERT_TOO_OLD, detail, field="time")
