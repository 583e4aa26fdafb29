"""The feeds and signals that a user may see. Row-level security has the same rules."""

from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from common.db.newest_rows import NewestRows
from signals.models import Feed, Signal
from users.models import User


def feeds_for(user: User) -> QuerySet[Feed]:
    """Return the user's own, the public and the subscribed feeds; all for operators."""
    feeds = Feed.objects.select_related("owner")
    if user.is_operator:
        return feeds
    public = Q(is_public=True, archived_at=None)
    taken = Q(pk__in=_taken(user))
    return feeds.filter(Q(owner=user) | public | taken)


def owned_feeds(user: User) -> QuerySet[Feed]:
    """Return the feeds whose signals and tokens the user manages; all for operators."""
    feeds = Feed.objects.select_related("owner")
    return feeds if user.is_operator else feeds.filter(owner=user)


def signals_for(user: User) -> QuerySet[Signal]:
    """Return the signals of the user's own feeds, and the published ones of feeds that the user
    takes now or took when they were published."""
    signals = Signal.objects.select_related("feed")
    if user.is_operator:
        return signals
    taken_now = Q(feed__in=_taken(user, live=True))
    is_current = Q(subscriptions__intervals__ended_at=None) | Q(
        subscriptions__intervals__ended_at__gt=OuterRef("published_at")
    )
    taken_then = Exists(
        Feed.objects.filter(  # in one call: the conditions are about one subscription
            is_current,
            pk=OuterRef("feed_id"),
            subscriptions__connection__user=user,
            subscriptions__intervals__started_at__lte=OuterRef("published_at"),
        )
    )
    entitled = Q(published_at__isnull=False) & (taken_now | taken_then)
    # Stated twice, so that signals are found by their feeds and not all of them are read.
    return signals.filter(Q(feed__owner=user) | entitled, feed__in=feeds_with_signals(user))


def feeds_with_signals(user: User) -> QuerySet[Feed, Any]:
    """Return the ids of feeds that may have signals which the user sees: own or ever taken."""
    return Feed.objects.filter(owner=user).values("pk").union(_taken(user).values("pk"))


def newest_signals(signals: QuerySet[Signal], user: User) -> QuerySet[Signal] | NewestRows[Signal]:
    """Return a page's rows of `signals_for(user)`, so that each feed's are found by index."""
    if user.is_operator:
        return signals
    feeds = Feed.objects.filter(pk__in=feeds_with_signals(user))
    return NewestRows(signals, feeds, "feed")


def managed_signals(user: User) -> QuerySet[Signal]:
    """Return the signals that the user may publish and cancel: those of their own feeds."""
    signals = Signal.objects.select_related("feed")
    return signals if user.is_operator else signals.filter(feed__owner=user)


def _taken(user: User, *, live: bool = False) -> QuerySet[Feed, int]:
    """Return the ids of feeds that the user's connections take or (without `live`) ever took."""
    mine = Q(subscriptions__connection__user=user)
    if live:
        mine &= Q(subscriptions__archived_at=None)
    return Feed.objects.filter(mine).values_list("pk", flat=True)


def feed_id_of(slug: str) -> int | None:
    """Return the id of the feed with this slug, of any owner; None: there is none."""
    return Feed.objects.filter(slug=slug).values_list("pk", flat=True).first()
