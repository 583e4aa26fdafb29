"""Tenants who take each other's feeds, some no longer, and what the operators give to all."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from connections.models import (
    DataConnection,
    ExecutionConnection,
    SourceHealth,
    Subscription,
    SubscriptionInterval,
)
from prices.models import LatestQuote
from signals.models import Feed, FeedTerms
from tests.connections import make
from tests.decisions import calendar_of
from tests.loss_limits import limit_of
from tests.users import world
from users.models import User

NOW = timezone.now()
# At which each feed published a signal: between the ends of spans, and exactly at each.
HOURS = (-100, -90, -80, -75, -70, -60, -50, -41, -40, -30, -20, -10, -1)

# Feed, when the subscription was archived, from when to when it was taken: hours from now.
Takes = list[tuple[Feed, int | None, list[tuple[int, int | None]]]]


@dataclass(frozen=True)
class Caller:
    """Who asks: the settings of a transaction of the web role."""

    name: str
    tenant: int | None = None
    operator: bool = False


def callers() -> list[Caller]:
    """Build the world; return all its users, a session without one, and operators."""
    alice, bob = world.tenant("alice"), world.tenant("bob")
    public = make.feed(alice.user, is_public=True)
    closed = make.feed(alice.user, is_public=False)
    archived = make.feed(bob.user, is_public=True)
    for feed in (public, closed, archived):
        FeedTerms.objects.create(feed=feed, text="terms", changed_by=feed.owner)
        make.signal(feed)  # a draft
        for hours in HOURS:
            make.signal(feed, published_at=at(hours))
    Feed.objects.filter(pk=archived.pk).update(archived_at=timezone.now(), is_public=False)
    people: dict[str, Takes] = {
        "takes both": [(public, None, [(-90, None)]), (closed, None, [(-50, None)])],
        "left": [(closed, -30, [(-90, -70), (-50, -30)])],
        "left and came back": [(closed, None, [(-90, -70), (-10, None)])],
        "left at once": [(closed, -30, [(-60, -60), (-40, -41)])],
        "took an archived feed": [(archived, -30, [(-90, -30)])],
        "no feed": [],
    }
    made = {name: _tenant(name, takes) for name, takes in people.items()}
    two = make.user("two accounts")
    take(make.connection(two), closed, None, [(-50, None)])
    take(make.connection(two), closed, -70, [(-110, -70)])
    twice_left = make.user("two accounts left")
    take(make.connection(twice_left), closed, -70, [(-110, -70)])
    take(make.connection(twice_left), closed, -30, [(-75, -30)])
    admin = make.user("sub-account admin")
    managed = make.connection(admin=admin, type="mt5")
    take(managed, closed, -10, [(-70, -10)])
    _for_all(managed, [public, closed, archived])
    _halts(alice, two)
    everybody = [alice.user, bob.user, *made.values(), two, twice_left, admin]
    return [
        *(Caller(user.username, user.pk) for user in everybody),
        Caller("without a user"),
        Caller("a deleted user", 10**9),
        Caller("operator", alice.user.pk, operator=True),
        Caller("operator without a user", operator=True),
    ]


def _tenant(name: str, takes: Takes) -> User:
    user = make.user(name)
    for feed, archived, spans in takes:
        take(make.connection(user, preset=make.preset(user)), feed, archived, spans)
    return user


def at(hours: int) -> datetime:
    return NOW + timedelta(hours=hours)


def take(
    connection: ExecutionConnection,
    feed: Feed,
    archived: int | None,
    spans: list[tuple[int, int | None]],
) -> Subscription:
    row = Subscription.objects.create(
        connection=connection, feed=feed, archived_at=None if archived is None else at(archived)
    )
    for start, end in spans:
        SubscriptionInterval.objects.create(
            subscription=row, started_at=at(start), ended_at=None if end is None else at(end)
        )
    return row


def _for_all(managed: ExecutionConnection, feeds: list[Feed]) -> None:
    """What has no user is the operators', for all."""
    shared = DataConnection.objects.create(name="for all")
    SourceHealth.objects.create(source=shared)
    LatestQuote.objects.create(
        data_connection=shared, symbol="EUR/USD", bid=1, ask=1, time=timezone.now()
    )
    limit_of(make.preset(None))
    calendar_of(None, "for all")
    limit_of(None, subscription=Subscription.objects.get(connection=managed))
    DataConnection.objects.create(
        name="own", kind="broker", user=managed.admin, broker_connection=managed
    )
    for feed in feeds:
        make.kill_switch("HALTED", scope="FEED", feed=feed)


def _halts(alice: world.Tenant, two: User) -> None:
    halts: list[dict[str, Any]] = [
        {"scope": "ALL"},
        {"scope": "SYMBOL", "pair": "EUR/USD"},
        {"scope": "BROKER_TYPE", "broker_type": "paper"},
        {"scope": "BROKER_TYPE", "broker_type": "mt5"},
        {"scope": "BROKER_TYPE", "broker_type": "ib"},
        {"scope": "USER", "user": alice.user},
        {"scope": "USER", "user": two, "set_by": alice.user},
        {"scope": "FEED", "feed": alice.feed, "set_by": alice.user},
        {"scope": "FEED", "feed": alice.feed, "set_by": two},
        {"scope": "CONNECTION", "connection": alice.connection, "set_by": two},
    ]
    for fields in halts:
        make.kill_switch("HALTED", **fields)
