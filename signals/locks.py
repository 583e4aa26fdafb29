"""Locks of feeds and their candidates, so that "the candidates at publication" is not a race.

Publications of a feed share the candidate lock: they do not wait for each other. A change of
subscriptions takes it exclusively: it waits for running publications, and later ones see all of it.
These are advisory locks of the current transaction and end with it.

To avoid deadlocks, lock the admin-owned connections first, then feeds by their id.
"""

from collections.abc import Iterable

from django.db import transaction

from common.db.sql import rows
from common.errors import ConflictError
from common.reason_codes import Code
from signals.models import Feed

# Advisory locks share one namespace: these numbers are unlikely to be used by others.
_ADMIN_OWNED = 0x46434100
_FEED = 0x46434101
_ONLY_KEY = 0


def candidates_shared(feed_id: int) -> None:
    """Keep the candidates of this feed unchanged until the transaction ends. For publishing.

    Call it before the statement that reads the candidates: a statement sees what was committed when
    it began.
    """
    _in_transaction()
    rows(
        "SELECT pg_advisory_xact_lock_shared(%s::int, %s::int) UNION ALL "
        "SELECT pg_advisory_xact_lock_shared(%s::int, %s::int)",
        (_ADMIN_OWNED, _ONLY_KEY, _FEED, feed_id),
    )


def candidates_exclusive(feed_id: int | None) -> None:
    """Lock the candidates of this feed for a change, until the transaction ends.

    None: the admin-owned connections, which are candidates of every feed. Take time stamps after
    this call: only then are they before or after every publication.
    """
    _in_transaction()
    key = (_ADMIN_OWNED, _ONLY_KEY) if feed_id is None else (_FEED, feed_id)
    rows("SELECT pg_advisory_xact_lock(%s::int, %s::int)", key)


def candidates_exclusive_many(*, feed_ids: Iterable[int], admin_owned: bool) -> None:
    """Take several exclusive locks in the fixed order."""
    if admin_owned:
        candidates_exclusive(None)
    for feed_id in sorted(set(feed_ids)):
        candidates_exclusive(feed_id)


def feed_shared(feed_id: int) -> Feed:
    """Return the current feed, locked against changes until the transaction ends.

    For storing and publishing its signals and for subscribing, which then wait only for changes of
    the feed. Call it after the candidate lock. Raises Feed.DoesNotExist.
    """
    _in_transaction()
    # A function locks it: a subscriber may not lock, and need not read, another tenant's row.
    rows("SELECT signals_lock_feed(%s::bigint) IS NULL", (feed_id,))
    return Feed.objects.select_related("owner").get(pk=feed_id)


def feed_exclusive(feed_id: int) -> Feed:
    """Return the current feed, locked for a change by the caller until the transaction ends.

    Raises Feed.DoesNotExist.
    """
    _in_transaction()
    return Feed.objects.select_for_update(no_key=True).get(pk=feed_id)


def owner_id_of(feed_id: int) -> int:
    """Return the id of a feed's owner without a lock: a quota's lock comes before the feed's.

    Raises Feed.DoesNotExist.
    """
    return Feed.objects.values_list("owner_id", flat=True).get(pk=feed_id)


def require_not_archived(feed: Feed) -> None:
    """Raise ConflictError STATE_CONFLICT for an archived feed: it takes no signals."""
    if feed.archived_at is not None:
        raise ConflictError(Code.STATE_CONFLICT, f"The feed {feed.slug!r} is archived.")


def _in_transaction() -> None:
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError(
            "A lock lasts as long as its transaction, and none is open."
        )
