"""Publishing and changing who is a candidate exclude each other, so that "the candidates as of
publication" is one fact and not a race.

Publications of one feed share the lock: they do not wait for each other. A change of subscriptions
takes it alone: it waits for publications under way, and those that come later see it whole. All are
advisory locks of the present transaction; they end with it, whatever happens.

Order, so that nobody waits in a circle: the admin-owned set first, then feeds by their id.
"""

from collections.abc import Iterable

from django.db import transaction

from common.sql import rows
from signals.models import Feed

# Advisory locks have one namespace for all; two numbers of our own, far from what others choose.
_ADMIN_OWNED = 0x46434100
_FEED = 0x46434101
_SOLE = 0


def candidates_shared(feed_id: int) -> None:
    """Hold still who is a candidate of this feed, until the transaction ends. For publishing.

    Take it in a statement before the one that reads the candidates: a statement sees what was
    committed when it began.
    """
    _in_transaction()
    rows(
        "SELECT pg_advisory_xact_lock_shared(%s::int, %s::int) UNION ALL "
        "SELECT pg_advisory_xact_lock_shared(%s::int, %s::int)",
        (_ADMIN_OWNED, _SOLE, _FEED, feed_id),
    )


def candidates_exclusive(feed_id: int | None) -> None:
    """Be the only one who changes candidates of this feed, until the transaction ends.

    None: the admin-owned connections, which are candidates of every feed. Stamp times after this
    call: only then do they stand on the right side of every publication.
    """
    _in_transaction()
    key = (_ADMIN_OWNED, _SOLE) if feed_id is None else (_FEED, feed_id)
    rows("SELECT pg_advisory_xact_lock(%s::int, %s::int)", key)


def candidates_exclusive_many(*, feed_ids: Iterable[int], admin_owned: bool) -> None:
    """Take several exclusive locks in the order in which everybody takes them."""
    if admin_owned:
        candidates_exclusive(None)
    for feed_id in sorted(set(feed_ids)):
        candidates_exclusive(feed_id)


def feed_shared(feed_id: int) -> Feed:
    """Return a feed as it is now, unchanged until the transaction ends. For writing and publishing
    its signals and for subscribing to it: they wait only for who changes the feed.

    Take it after the candidate lock. Raises Feed.DoesNotExist.
    """
    _in_transaction()
    # By a function: a subscriber may lock no row of another tenant's, and need not read it.
    rows("SELECT signals_feed_held(%s::bigint) IS NULL", (feed_id,))
    return Feed.objects.select_related("owner").get(pk=feed_id)


def feed_exclusive(feed_id: int) -> Feed:
    """Return a feed as it is now, to be changed by the caller alone until the transaction ends.

    Raises Feed.DoesNotExist.
    """
    _in_transaction()
    return Feed.objects.select_for_update(no_key=True).get(pk=feed_id)


def _in_transaction() -> None:
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError(
            "A lock lives as long as its transaction; there is none."
        )
