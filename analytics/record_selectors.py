"""Read the computed record of a feed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Q

from analytics.models import FeedRecord, FeedTrade
from analytics.record_figures import FEWEST, Figures, RecordTrade, from_json
from common.clocks import market_now
from signals.models import Feed
from signals.record_results import seals_of
from signals.record_selectors import WITHHELD
from users.tenancy import for_all_tenants


@dataclass(frozen=True, slots=True)
class Record:
    """The figures of a feed. until: later prices and signals are not in them; None: not computed.

    followers: None: fewer than FEWEST. age: since the feed was made.
    """

    figures: Figures
    until: datetime | None
    followers: int | None
    age: timedelta


def record_of(feed: Feed) -> Record:
    """Return the figures of a feed's record, in one statement."""
    with for_all_tenants():
        stored = FeedRecord.objects.filter(pk=feed.pk).first()
    if stored is None:
        return Record(Figures(), None, None, age_of(feed))
    followers = stored.followers if stored.followers >= FEWEST else None
    return Record(from_json(stored.figures), stored.until, followers, age_of(feed))


def age_of(feed: Feed) -> timedelta:
    """Return how long ago a feed was made."""
    return max(market_now() - feed.created_at, timedelta(0))


def trades_of(feed: Feed, *, before: int | None, limit: int, with_new: bool) -> list[FeedTrade]:
    """Return a feed's trades, the newest first, from below signal id `before` (None: the newest).

    with_new: also those published in the last 24 hours.
    """
    wanted = Q(feed=feed)
    if before is not None:
        wanted &= Q(signal_id__lt=before)
    if not with_new:
        wanted &= Q(published_at__lt=market_now() - WITHHELD)
    with for_all_tenants():
        newest = FeedTrade.objects.filter(wanted).order_by("-signal_id")
        found = list(newest.defer("progress")[:limit])
    seals = seals_of([trade.pk for trade in found if trade.is_final])
    for trade in found:
        trade.seal = seals.get(trade.pk)
    return found


def in_order(feed_id: int) -> Iterator[RecordTrade]:
    """Yield all trades of a feed in the order in which they ended. Needs all tenants' rows."""
    found = FeedTrade.objects.filter(feed_id=feed_id)
    ordered = found.order_by(F("ended_at").asc(nulls_last=True), "signal_id")
    for values in ordered.values_list(*RecordTrade._fields).iterator(chunk_size=5_000):
        yield RecordTrade(*values)
