"""Which feeds and signals somebody may see. Row-level security says the same in the database."""

from django.db.models import Exists, OuterRef, Q, QuerySet

from signals.models import Feed, Signal
from users.models import User


def feeds_for(user: User) -> QuerySet[Feed]:
    """Return one's own feeds, the public ones and those that one takes; all for operators."""
    feeds = Feed.objects.select_related("owner")
    if user.is_operator:
        return feeds
    public = Q(is_public=True, archived_at=None)
    taken = Q(pk__in=_taken(user))
    return feeds.filter(Q(owner=user) | public | taken)


def owned_feeds(user: User) -> QuerySet[Feed]:
    """Return the feeds whose signals and tokens somebody manages; all for operators."""
    feeds = Feed.objects.select_related("owner")
    return feeds if user.is_operator else feeds.filter(owner=user)


def signals_for(user: User) -> QuerySet[Signal]:
    """Return the signals of one's own feeds, and the published ones that one was entitled to:
    of feeds that one takes now, or took when they were published."""
    signals = Signal.objects.select_related("feed")
    if user.is_operator:
        return signals
    taken_now = Q(feed__in=_taken(user, live=True))
    stood = Q(subscriptions__intervals__ended_at=None) | Q(
        subscriptions__intervals__ended_at__gt=OuterRef("published_at")
    )
    taken_then = Exists(
        Feed.objects.filter(  # all in one call: of one and the same subscription
            stood,
            pk=OuterRef("feed_id"),
            subscriptions__connection__user=user,
            subscriptions__intervals__started_at__lte=OuterRef("published_at"),
        )
    )
    entitled = Q(published_at__isnull=False) & (taken_now | taken_then)
    return signals.filter(Q(feed__owner=user) | entitled)


def managed_signals(user: User) -> QuerySet[Signal]:
    """Return the signals that somebody may publish and cancel: of their own feeds."""
    signals = Signal.objects.select_related("feed")
    return signals if user.is_operator else signals.filter(feed__owner=user)


def _taken(user: User, *, live: bool = False) -> QuerySet[Feed, int]:
    """Ids of feeds that a connection of this user takes or (without `live`) ever took."""
    mine = Q(subscriptions__connection__user=user)
    if live:
        mine &= Q(subscriptions__archived_at=None)
    return Feed.objects.filter(mine).values_list("pk", flat=True)
