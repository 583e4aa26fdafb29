"""Feeds that a tenant may subscribe to, and their subscriptions."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from django.core.paginator import Page, Paginator
from django.db.models import (
    BooleanField,
    Exists,
    ExpressionWrapper,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
)

from analytics.records.selectors import FeedFigures, figures_of_feeds
from common.clocks import market_now
from connections.models import Subscription, SubscriptionTwin
from portal.selectors.accounts import Account
from signals.models import Feed, FeedTerms
from signals.records.selectors import feeds_with_new
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

    has_twin: whether a twin of it runs. has_ended: whether its end has passed.
    """
    passed = ExpressionWrapper(Q(expires_at__lte=market_now()), output_field=BooleanField())
    running = SubscriptionTwin.objects.filter(subscription=OuterRef("pk"), ended_at=None)
    live = Subscription.objects.filter(
        connection__user=user, connection__archived_at=None, archived_at=None, twin_of=None
    ).annotate(has_twin=Exists(running), has_ended=passed)
    related = live.select_related("feed", "connection").defer("connection__sealed_credentials")
    return related.order_by("feed__name", "connection__name")


def feed_options(user: User, accounts: list[Account], feeds: Iterable[Feed]) -> list[FeedOption]:
    """Return these feeds, in their order, with the tenant's subscriptions, in one statement."""
    taken: dict[int, list[Subscription]] = {}
    for subscription in subscriptions_of(user):
        taken.setdefault(subscription.feed_id, []).append(subscription)
    found = []
    for feed in feeds:
        mine = taken.get(feed.pk, [])
        ids = {subscription.connection_id for subscription in mine}
        free = [
            account
            for account in accounts
            if account.connection.pk not in ids and not account.is_twin
        ]
        found.append(FeedOption(feed, mine, free))
    return found


@dataclass(frozen=True, slots=True)
class FeedPage:
    """A page of the list of feeds. one_page: of all ids that match. figures: by feed."""

    one_page: Page[int]
    feeds: list[Feed]
    figures: dict[int, FeedFigures]
    sort: str


SORTS = {
    "": "Yours first", "name": "Name", "newest": "Newest", "result": "Result",
    "drawdown": "Smallest drawdown", "signals": "Signals", "followers": "Followers",
}  # fmt: skip
_FIGURES: dict[str, Callable[[FeedFigures], Decimal | int | None]] = {  # the highest first
    "result": lambda figures: figures.percent if figures.closed else None,
    "drawdown": lambda figures: -figures.drawdown_percent if figures.closed else None,
    "signals": lambda figures: figures.signals,
    "followers": lambda figures: figures.followers,
}
A_PAGE = 25
MOST_TEXT = 100


def feed_page(user: User, query: Mapping[str, str]) -> FeedPage:
    """Return the feeds that the tenant may subscribe to and that match, in four statements.

    query: `q`, a part of name, address, description or provider; `sort`, of SORTS; `page`.
    """
    text = query.get("q", "").strip().replace("\0", "")[:MOST_TEXT]
    sort = query["sort"] if query.get("sort") in SORTS else ""
    matching = subscribable_feeds(user)
    if text:
        matching = matching.filter(
            Q(name__icontains=text) | Q(slug__icontains=text) | Q(description__icontains=text)
            | Q(owner__username__icontains=text)
        )  # fmt: skip
    mine = Exists(subscriptions_of(user).filter(feed=OuterRef("pk")))
    order = {"": (~mine, "name", "pk"), "newest": ("-pk",)}.get(sort, ("name", "pk"))
    ids = list(matching.order_by(*order).values_list("pk", flat=True))
    figures = {}
    if sort in _FIGURES:
        figures = figures_of_feeds(ids, feeds_with_new(user, ids))
        ids.sort(key=lambda pk: _place(figures.get(pk), sort))
    one_page = Paginator(ids, A_PAGE).get_page(query.get("page"))
    shown = list(one_page)
    by_id = with_terms(subscribable_feeds(user)).in_bulk(shown)
    if sort not in _FIGURES:
        figures = figures_of_feeds(shown, feeds_with_new(user, shown))
    return FeedPage(one_page, [by_id[pk] for pk in shown if pk in by_id], figures, sort)


def _place(figures: FeedFigures | None, sort: str) -> tuple[bool, Decimal | int]:
    """Return a key that puts the highest value first, and what has none last."""
    value = None if figures is None else _FIGURES[sort](figures)
    return (True, 0) if value is None else (False, -value)
