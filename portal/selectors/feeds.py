"""Feeds that a tenant may subscribe to, and their subscriptions."""

from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from connections.models import Subscription, SubscriptionTwin
from portal.selectors.accounts import Account
from signals.models import Feed, FeedTerms
from signals.selectors import feeds_for
from users.models import User


@dataclass(frozen=True, slots=True)
class FeedOption:
    """A feed, the tenant's subscriptions to it, and their accounts without one."""

    feed: Feed
    taken: list[Subscription]
    free: list[Account]


def subscribable_feeds(user: User) -> QuerySet[Feed]:
    """Return the public feeds, the tenant's own, and those that they are subscribed to."""
    taken = Q(subscriptions__connection__user=user, subscriptions__archived_at=None)
    mine = Feed.objects.filter(taken).values("pk")
    open_ones = Q(is_public=True, archived_at=None) | Q(owner=user, archived_at=None)
    return feeds_for(user).filter(open_ones | Q(pk__in=mine))


def with_terms(feeds: QuerySet[Feed]) -> QuerySet[Feed]:
    """Add to feeds when their terms were changed last, `terms_at`; None: they have none."""
    newest = FeedTerms.objects.filter(feed=OuterRef("pk")).order_by("-id")
    return feeds.annotate(terms_at=Subquery(newest.values("created_at")[:1]))


def subscriptions_of(user: User) -> QuerySet[Subscription]:
    """Return the current subscriptions of a tenant's accounts, without those of paper twins.

    has_twin: whether a twin of it runs.
    """
    running = SubscriptionTwin.objects.filter(subscription=OuterRef("pk"), ended_at=None)
    live = Subscription.objects.filter(
        connection__user=user, connection__archived_at=None, archived_at=None, twin_of=None
    ).annotate(has_twin=Exists(running))
    related = live.select_related("feed", "connection").defer("connection__sealed_credentials")
    return related.order_by("feed__name", "connection__name")


def feed_options(user: User, accounts: list[Account]) -> list[FeedOption]:
    """Return the feeds with their subscriptions, subscribed ones first, in two statements."""
    taken: dict[int, list[Subscription]] = {}
    for subscription in subscriptions_of(user):
        taken.setdefault(subscription.feed_id, []).append(subscription)
    found = []
    for feed in with_terms(subscribable_feeds(user)):
        mine = taken.get(feed.pk, [])
        ids = {subscription.connection_id for subscription in mine}
        free = [
            account
            for account in accounts
            if account.connection.pk not in ids and not account.is_twin
        ]
        found.append(FeedOption(feed, mine, free))
    return sorted(found, key=lambda option: (not option.taken, option.feed.name))
