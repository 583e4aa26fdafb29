"""Notify operators of a request for a feed's approval, and its owner of the answer."""

from events.models import EventKind
from events.services import emit
from signals.models import ApprovalRequest, Feed, RequestOutcome
from users.tenancy import for_all_tenants


def notify_asked(asked: ApprovalRequest) -> None:
    """Write the event for operators, in the caller's transaction."""
    payload = {
        "feed": asked.feed.slug,
        "owner": asked.requested_by.get_username(),
        "text": asked.text,
    }
    with for_all_tenants():  # an event without an owner is no tenant's
        emit(EventKind.FEED_APPROVAL_ASKED, payload=payload)


def notify_decided(feed_id: int, outcome: RequestOutcome, sentence: str) -> None:
    """Write the event for the feed's owner, in the caller's transaction."""
    feed = Feed.objects.get(pk=feed_id)
    payload = {
        "feed": feed.slug,
        "outcome": str(outcome),
        "sentence": sentence,
        "page": f"/publishing/{feed.slug}/",
    }
    with for_all_tenants():  # staff write it, and it is the owner's
        emit(EventKind.FEED_APPROVAL_DECIDED, user_id=feed.owner_id, payload=payload)
