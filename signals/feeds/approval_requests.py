"""Ask for a feed's approval, and answer: each in one transaction, under the feed's lock."""

from django.db import transaction

from common.errors import ConflictError, InvalidInputError
from common.permissions import Right, require
from common.reason_codes import Code
from common.web.quotas import lock_quota, require_quota, within_a_day
from signals.feeds.approval_notices import notify_asked
from signals.feeds.services import end_request
from signals.locks import feed_exclusive, owner_id_of, require_not_archived
from signals.models import MAX_TEXT, ApprovalRequest, Feed, RequestOutcome
from users.models import User


@transaction.atomic
def request_approval(feed_id: int, *, text: str = "", by: User) -> tuple[ApprovalRequest, bool]:
    """Ask operators to approve a public feed; return the open request and whether it is new.

    A repetition returns the open request unchanged. Raises ConflictError STATE_CONFLICT for an
    archived, a private and an approved feed, QUOTA_REACHED; InvalidInputError; NotAllowedError.
    """
    lock_quota("requests for approval within a day", owner_id_of(feed_id))
    feed = feed_exclusive(feed_id)
    require(by, Right.FEEDS, owner_id=feed.owner_id)
    _check_length("text", text)
    if waits := open_request(feed):
        return waits, False
    if obstacle := why_not_requestable(feed):
        raise ConflictError(Code.STATE_CONFLICT, obstacle)
    asked = ApprovalRequest.objects.filter(within_a_day("requested_at"), feed__owner=feed.owner_id)
    require_quota("requests for approval within a day", feed.owner_id, asked)
    made = ApprovalRequest.objects.create(feed=feed, text=text.strip(), requested_by=by)
    notify_asked(made)
    return ApprovalRequest.objects.get(pk=made.pk), True  # with the database's time


def why_not_requestable(feed: Feed) -> str:
    """Return why its owner cannot ask for a feed's approval now; empty: it is possible."""
    if feed.archived_at is not None:
        return "The feed is archived."
    if not feed.is_public:
        return "A private feed needs no approval: it reaches your own accounts only."
    if feed.is_approved:
        return "The feed is approved already."
    return ""


@transaction.atomic
def withdraw_request(feed_id: int, *, by: User) -> bool:
    """Withdraw the open request. Returns False without one."""
    feed = feed_exclusive(feed_id)
    require(by, Right.FEEDS, owner_id=feed.owner_id)
    return end_request(feed_id, RequestOutcome.WITHDRAWN, by=by)


@transaction.atomic
def grant_approval(feed_id: int, *, sentence: str = "", by: User) -> bool:
    """Approve a feed, and answer its request if there is one. Returns False if it was approved.

    Raises ConflictError STATE_CONFLICT for an archived feed; InvalidInputError; NotAllowedError.
    """
    require(by, Right.APPROVE)
    _check_length("sentence", sentence)
    feed = feed_exclusive(feed_id)
    require_not_archived(feed)
    answered = end_request(feed_id, RequestOutcome.GRANTED, by=by, sentence=sentence.strip())
    if feed.reaches_admins:
        return answered
    Feed.objects.filter(pk=feed_id).update(is_approved=True, approved_by_owner=False)
    return True


@transaction.atomic
def refuse_approval(feed_id: int, *, sentence: str, by: User) -> bool:
    """Refuse the open request with a sentence for its owner. Returns False if it was refused.

    Raises ConflictError STATE_CONFLICT without a request that can be refused; InvalidInputError
    FIELD_REQUIRED without a sentence; NotAllowedError.
    """
    require(by, Right.APPROVE)
    _check_length("sentence", sentence)
    if not sentence.strip():
        detail = "Write why, in a sentence that the owner reads."
        raise InvalidInputError(Code.FIELD_REQUIRED, detail, field="sentence")
    feed = feed_exclusive(feed_id)
    if end_request(feed_id, RequestOutcome.REFUSED, by=by, sentence=sentence.strip()):
        return True
    last = latest_request(feed)
    if last is not None and last.outcome == RequestOutcome.REFUSED:
        return False
    detail = f"No request for the approval of {feed.slug!r} is open."
    raise ConflictError(Code.STATE_CONFLICT, detail)


def open_request(feed: Feed) -> ApprovalRequest | None:
    """Return the request of a feed that waits for an operator."""
    return feed.approval_requests.filter(outcome=RequestOutcome.OPEN).first()


def latest_request(feed: Feed) -> ApprovalRequest | None:
    """Return the newest request of a feed, open or decided."""
    return feed.approval_requests.first()


def _check_length(field: str, text: str) -> None:
    if len(text) > MAX_TEXT:
        detail = f"It has {len(text)} characters, more than {MAX_TEXT}."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field=field)
    if "\0" in text:
        raise InvalidInputError(Code.FIELD_INVALID, "It has a NUL character.", field=field)
