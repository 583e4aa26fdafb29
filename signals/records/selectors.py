"""Read the record of a feed: its links, head and anchors.

What a feed published in the last 24 hours is for its subscribers. To others such a link shows its
hash, but not its content, which follows later: the hash already binds the provider to it. What is
computed of the record is delayed as much (`analytics/records/delayed.py`).
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils.timezone import now as machine_now

from common.db.sql import rows
from common.hash_chain import Head
from signals.feeds.terms import current_terms
from signals.models import Feed, FeedTerms, RecordStatus
from signals.records.check import signature_of
from signals.records.sql import ANCHORS, CONTENT, HEADS, LINKS
from signals.selectors import feeds_for
from users.models import User
from users.tenancy import for_all_tenants

__all__ = [
    "WITHHELD",
    "Anchor",
    "FeedStatement",
    "Link",
    "feeds_with_new",
    "links",
    "record_feed",
    "record_terms",
    "sees_new",
    "statement",
]

WITHHELD = timedelta(hours=24)
MOST = 500
_LINKS = f"""
SELECT link.number, link.kind, link.signal_id, link.sealed_at, link.sealed_later, link.hash,
  link.terms -> 'marks' AS marks, {CONTENT} AS content
FROM {LINKS} link WHERE feed_id = %s AND number > %s ORDER BY number LIMIT %s
"""
_ANCHORS = f"""
SELECT at, number, hash, signature FROM {ANCHORS} WHERE feed_id = %s ORDER BY id DESC LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a record. content: the text that is hashed; None while it is withheld."""

    number: int
    hash: str
    sealed_at: datetime
    content: str | None
    kind: str | None
    signal: int | None
    sealed_later: bool
    marks: list[str]

    @property
    def terms(self) -> dict[str, Any]:
        """The signal as published; empty while it is withheld."""
        found: dict[str, Any] = json.loads(self.content)["terms"] if self.content else {}
        return found


@dataclass(frozen=True, slots=True)
class Anchor:
    """A head that was signed at one time."""

    at: datetime
    head: str
    signature: str


@dataclass(frozen=True, slots=True)
class FeedStatement:
    """What the operator states about a record now, for its readers to keep.

    signature: over feed id and head, with the installation's key. anchors: the newest ones first.
    verified_at: of the last full check; None: there was none. findings: what it found; empty:
    nothing.
    """

    feed: str
    feed_id: int
    at: datetime
    head: Head
    sealed_at: datetime | None
    signature: str
    anchors: list[Anchor]
    verified_at: datetime | None
    verified_links: int
    findings: list[str]


def record_feed(slug: str, user: User | None) -> Feed | None:
    """Return the feed with this slug whose record the user may see; None: there is none.

    user: None for a visitor, who sees those of public feeds whose provider shows them to all. An
    operator sees every record, a tenant those of the feeds that they could subscribe to or take.
    """
    if user is not None:
        known = feeds_for(user).filter(slug=slug).first()
        if known is not None:
            return known
    with for_all_tenants():
        shown = Feed.objects.select_related("owner").filter(is_public=True, record_is_public=True)
        return shown.filter(slug=slug, archived_at=None).first()


def record_terms(feed: Feed) -> FeedTerms | None:
    """Return the terms of a feed whose record the reader sees; None: it has never had any."""
    with for_all_tenants():
        return current_terms(feed)


def sees_new(feed: Feed, user: User | None) -> bool:
    """Whether a user sees what the feed has just published: its owner, subscribers, operators."""
    return user is not None and feed.pk in feeds_with_new(user, [feed.pk])


def feeds_with_new(user: User, feed_ids: Collection[int]) -> set[int]:
    """Return of which of these feeds `sees_new` holds, in one statement at most."""
    if user.is_operator:
        return set(feed_ids)
    mine = Q(subscriptions__connection__user=user, subscriptions__archived_at=None)
    taken = Q(pk__in=Feed.objects.filter(mine).values("pk"))
    found = Feed.objects.filter(taken | Q(owner=user), pk__in=feed_ids)
    return set(found.values_list("pk", flat=True))


def links(feed: Feed, *, after: int, limit: int, with_new: bool) -> list[Link]:
    """Return the links after a number. with_new: also the content of those of the last 24 hours."""
    with for_all_tenants():
        found = rows(_LINKS, (feed.pk, after, min(limit, MOST)))
    return list(_shown(found, None if with_new else machine_now() - WITHHELD))


def _shown(found: list[Any], before: datetime | None) -> Iterator[Link]:
    for row in found:
        is_shown = before is None or row.sealed_at < before
        yield Link(
            row.number, row.hash, row.sealed_at, row.content if is_shown else None,
            row.kind if is_shown else None, row.signal_id if is_shown else None,
            row.sealed_later, (row.marks or []) if is_shown else [],
        )  # fmt: skip


def statement(feed: Feed, *, anchors: int = 30) -> FeedStatement:
    """Return the head of a feed's record, with its newest anchors and the last full check."""
    with for_all_tenants():
        stored = rows(f"SELECT links, hash, sealed_at FROM {HEADS} WHERE feed_id = %s", (feed.pk,))
        signed = rows(_ANCHORS, (feed.pk, anchors)) if anchors else []
        status = RecordStatus.objects.filter(pk=feed.pk).first()
    head = Head(stored[0].links, stored[0].hash) if stored else Head(0, "")
    return FeedStatement(
        feed=feed.slug, feed_id=feed.pk, at=machine_now(), head=head,
        sealed_at=stored[0].sealed_at if stored else None,
        signature=signature_of(feed.pk, head),
        anchors=[Anchor(row.at, Head(row.number, row.hash).text, row.signature) for row in signed],
        verified_at=status.verified_at if status else None,
        verified_links=status.number if status else 0,
        findings=status.findings.splitlines() if status else [],
    )  # fmt: skip
