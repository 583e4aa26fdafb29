"""The terms of a feed, with their history: followers see when they were changed last."""

from django.db import transaction

from common.errors import InvalidInputError
from common.permissions import Right, require
from common.reason_codes import Code
from common.web.quotas import lock_quota, require_quota, within_a_day
from signals.locks import feed_exclusive, owner_id_of
from signals.models import MAX_TERMS, Feed, FeedTerms
from users.models import User


@transaction.atomic
def change_terms(feed_id: int, text: str, *, by: User) -> tuple[FeedTerms, bool]:
    """State a feed's terms from now on; return them and whether they are other ones.

    The earlier ones stay readable. Raises InvalidInputError FIELD_INVALID; NotAllowedError;
    ConflictError QUOTA_REACHED.
    """
    lock_quota("versions of terms within a day", owner_id_of(feed_id))
    feed = feed_exclusive(feed_id)
    require(by, Right.FEEDS, owner_id=feed.owner_id)
    text = text.replace("\r\n", "\n").strip()
    if len(text) > MAX_TERMS or "\0" in text:
        detail = f"Terms have at most {MAX_TERMS:,} characters, and no NUL; these {len(text):,}."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="text")
    before = current_terms(feed)
    if before is not None and before.text == text:
        return before, False
    if before is None and not text:
        detail = "Write the terms: there are none to remove."
        raise InvalidInputError(Code.FIELD_REQUIRED, detail, field="text")
    changed = FeedTerms.objects.filter(within_a_day(), feed__owner=feed.owner_id)
    require_quota("versions of terms within a day", feed.owner_id, changed)
    made = FeedTerms.objects.create(feed=feed, text=text, changed_by=by)
    return FeedTerms.objects.get(pk=made.pk), True  # with the database's time


def current_terms(feed: Feed) -> FeedTerms | None:
    """Return the terms of now; None: the feed has never had any."""
    return feed.terms.order_by("-id").first()
