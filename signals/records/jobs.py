"""The jobs on all records: sign their heads every hour, check them wholly every day."""

import structlog
from django.db import transaction

from events.models import EventKind
from events.services import emit
from signals.models import Feed, RecordHead
from signals.records.check import anchor, store_status, verify_feed

log = structlog.get_logger(__name__)
SENTENCES = 5


def anchor_all() -> None:
    """Sign the head of each record that has grown, and log each head.

    The log is a copy outside the database: a head in it proves what was before it. A record that
    does not match is checked wholly at once.
    """
    for feed in Feed.objects.filter(pk__in=RecordHead.objects.values("feed_id")).order_by("pk"):
        head = anchor(feed.pk)
        if head is None:
            verify(feed)
        else:
            log.info("feed_record_head", feed=feed.slug, head=head.text)


def verify_all() -> int:
    """Check the records of all feeds; return how many are broken."""
    with_record = Feed.objects.filter(pk__in=RecordHead.objects.values("feed_id"))
    return sum(not verify(feed) for feed in with_record.order_by("pk"))


def verify(feed: Feed) -> bool:
    """Check a record and store the result; report it to operators if it is broken only now."""
    found = verify_feed(feed.pk)
    with transaction.atomic():
        is_new = store_status(feed.pk, found)
        if is_new:
            log.error("feed_record_broken", feed=feed.slug, findings=found.wrong[:SENTENCES])
            detail = "\n".join(found.wrong[:SENTENCES])
            emit(
                EventKind.AUDIT_TRAIL_BROKEN,
                payload={"detail": f"The record of the feed {feed.slug}: {detail}"},
            )
    return not found.wrong
