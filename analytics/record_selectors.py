"""Read the computed record of a feed."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from analytics.models import FeedRecord, FeedTrade
from analytics.record_figures import FEWEST, Figures, from_json
from common.clocks import market_now
from signals.models import Feed
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
    """Return a feed's trades, the newest publication first.

    before: the signal id of a trade, to go on with those published before it; None: the newest.
    with_new: also those published in the last 24 hours.
    """
    wanted = Q(feed=feed)
    if before is not None:
        wanted &= _published_before(feed, before)
    if not with_new:
        wanted &= Q(published_at__lt=market_now() - WITHHELD)
    with for_all_tenants():
        newest = FeedTrade.objects.filter(wanted).order_by("-published_at", "-signal_id")
        return list(newest.defer("progress")[:limit])


def _published_before(feed: Feed, signal_id: int) -> Q:
    """Return what was published before a trade. Of none of the feed's: all, as without it."""
    with for_all_tenants():
        last = FeedTrade.objects.filter(feed=feed, pk=signal_id)
        at = last.values_list("published_at", flat=True).first()
    if at is None:
        return Q()
    earlier = Q(published_at__lt=at) | Q(signal_id__lt=signal_id)
    return Q(published_at__lte=at) & earlier
