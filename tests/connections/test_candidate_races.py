"""Who takes a feed, and with what: changes that meet, of feeds, accounts, routes and presets."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from common.permissions import Role
from common.sealing import new_private_key, public_key_of
from connections import services
from connections.models import (
    DataConnection,
    ExecutionConnection,
    Subscription,
    SubscriptionInterval,
    SubscriptionRoute,
    SubscriptionTwin,
)
from connections.subscriptions.routes import RouteAccount, set_route
from execution.models import Order
from signals import services as signals
from signals.feeds.services import archive_feed, create_feed, update_feed
from signals.models import Action, Feed, Origin, Signal
from signals.publishing.drafts import publish_draft, store_draft
from signals.publishing.ingest import save_draft
from signals.reading.intake import read_signal
from tests.changes.races import Race, require_one_winner
from tests.connections import make
from tests.roles import staff

pytestmark = pytest.mark.django_db(transaction=True)
CONFLICT, BODY = "STATE_CONFLICT", {"symbol": "EUR/USD", "direction": "BUY"}


@pytest.fixture(autouse=True)
def surroundings(settings: Any, limits: Callable[..., None]) -> None:
    """Secrets can be sealed, and a session waits for as long as the test."""
    key = new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (key,)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(key)
    limits(lock_timeout=60_000)


def _subscribe(row: ExecutionConnection, feed: Feed) -> Callable[[], object]:
    return lambda: services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=None)


def _live() -> int:
    return Subscription.objects.filter(archived_at=None).count()


def subscription_to_a_feed_that_is_being_archived() -> Race:
    row, feed = make.connection(), make.feed()
    return Race(lambda: archive_feed(feed.pk), _subscribe(row, feed), ("True", CONFLICT), _live, 0)


def subscription_to_a_feed_that_is_becoming_private() -> Race:
    row, feed = make.ready(make.connection()), make.feed()
    return Race(
        lambda: bool(update_feed(feed.pk, by=None, is_public=False)),
        lambda: services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=row.user),
        ("True", "NOT_FOUND"), _live, 0,
    )  # fmt: skip


def subscription_of_an_account_that_is_being_archived() -> Race:
    row, feed = make.connection(), make.feed()
    return Race(
        lambda: services.archive_connection(row.pk, by=None), _subscribe(row, feed),
        ("True", CONFLICT), _live, 0,
    )  # fmt: skip


def subscription_of_an_account_that_is_being_routed_to() -> Race:
    owner, feed = make.user(), make.feed()
    row, other = make.connection(owner), make.connection(owner)
    mine = make.subscription(row, feed)
    accounts = [RouteAccount(row.pk), RouteAccount(other.pk)]

    def left() -> tuple[int, int]:
        return _live(), SubscriptionRoute.objects.count()

    return Race(
        lambda: set_route(mine.pk, by=None, policy="PRICE", accounts=accounts),
        _subscribe(other, feed), ("True", CONFLICT), left, (1, 2),
    )  # fmt: skip


def route_to_an_account_that_is_subscribing() -> Race:
    owner, feed = make.user(), make.feed()
    row, other = make.connection(owner), make.connection(owner)
    mine = make.subscription(row, feed)
    accounts = [RouteAccount(row.pk), RouteAccount(other.pk)]
    return Race(
        _subscribe(other, feed),
        lambda: set_route(mine.pk, by=None, policy="PRICE", accounts=accounts),
        ("done", "FIELD_INVALID"), SubscriptionRoute.objects.count, 0,
    )  # fmt: skip


def change_of_a_subscription_that_is_ending() -> Race:
    made = make.subscription(make.connection(), make.feed())

    def left() -> str:
        return Subscription.objects.get().directions

    return Race(
        lambda: services.unsubscribe(made.pk, by=None),
        lambda: services.update_subscription(made.pk, by=None, directions="BUY"),
        ("True", CONFLICT), left, "BOTH",
    )  # fmt: skip


def route_of_a_subscription_that_is_ending() -> Race:
    owner = make.user()
    row, other = make.connection(owner), make.connection(owner)
    mine = make.subscription(row, make.feed())
    accounts = [RouteAccount(row.pk), RouteAccount(other.pk)]
    return Race(
        lambda: services.unsubscribe(mine.pk, by=None),
        lambda: set_route(mine.pk, by=None, policy="PRICE", accounts=accounts),
        ("True", CONFLICT), SubscriptionRoute.objects.count, 0,
    )  # fmt: skip


def twin_of_a_subscription_that_is_ending() -> Race:
    owner = make.user()
    DataConnection.objects.create(name="shared")
    made = make.subscription(make.ready(make.connection(owner, type="mt5")), make.feed())
    return Race(
        lambda: services.unsubscribe(made.pk, by=owner),
        lambda: services.start_twin(made.pk, by=owner),
        ("True", CONFLICT), SubscriptionTwin.objects.count, 0,
    )  # fmt: skip


def source_that_is_chosen_while_it_is_being_withdrawn() -> Race:
    operator = staff(Role.OPERATOR)
    account = make.connection(admin=operator, type="mt5")
    source = DataConnection.objects.create(
        name="shared", kind="broker", broker_connection=account, user=None
    )
    row, seen = make.connection(), DataConnection.objects.get(pk=source.pk)

    def left() -> bool:
        return ExecutionConnection.objects.get(pk=row.pk).data_connection_id == source.pk

    return Race(
        lambda: services.share_with_all(source, by=operator, shared=False),
        lambda: services.update_connection(row.pk, by=row.user, data_connection=seen),
        ("done", "FIELD_INVALID"), left, False,
    )  # fmt: skip


def _archived() -> tuple[int, int]:
    return Signal.objects.count(), Signal.objects.filter(published_at__isnull=False).count()


def publication_in_a_feed_that_is_being_archived() -> Race:
    signal = make.signal(make.feed())
    return Race(
        lambda: archive_feed(signal.feed_id), lambda: signals.publish(signal.pk, by=None),
        ("True", CONFLICT), _archived, (1, 0),
    )  # fmt: skip


def new_signal_of_a_feed_that_is_being_archived() -> Race:
    feed = make.feed()
    return Race(
        lambda: archive_feed(feed.pk),
        lambda: save_draft(feed, read_signal(BODY), origin=Origin.API, by=None),
        ("True", "FEED_UNKNOWN"), _archived, (0, 0),
    )  # fmt: skip


def draft_of_a_feed_that_is_being_handed_over() -> Race:
    feed = create_feed(owner=make.user("paula"), name="Majors", is_approved=True)
    draft = store_draft(feed.pk, action=Action.OPEN, body=BODY, by=feed.owner)
    successor = make.user("carol")
    return Race(
        lambda: bool(update_feed(feed.pk, by=None, owner=successor)),
        lambda: publish_draft(draft.pk, by=feed.owner),
        ("True", "PERMISSION_DENIED"), _archived, (0, 0),
    )  # fmt: skip


def signal_that_ends_while_it_waits_for_its_feed() -> Race:
    """What was valid when its publication began has ended when its turn comes."""
    signal = make.signal(make.feed())

    def end() -> bool:
        update_feed(signal.feed_id, by=None, description="new")
        past = signal.created_at - timedelta(hours=1)
        return bool(Signal.objects.filter(pk=signal.pk).update(valid_until=past))

    return Race(
        end, lambda: signals.publish(signal.pk, by=None), ("True", "SIGNAL_ENDED"), _archived,
        (1, 0),
    )  # fmt: skip


def publication_to_a_subscription_that_is_ending() -> Race:
    """It has ended before the publication, and so it is no candidate."""
    row, signal = make.ready(make.connection()), make.signal(make.feed())
    made = make.subscription(row, signal.feed)

    def left() -> tuple[int, bool]:
        ended = SubscriptionInterval.objects.get().ended_at
        published = Signal.objects.get().published_at
        assert ended
        assert published
        return Order.objects.count(), ended < published

    return Race(
        lambda: services.unsubscribe(made.pk, by=None),
        lambda: signals.publish(signal.pk, by=None), ("True", "True"), left, (0, True),
    )  # fmt: skip


RACES: dict[str, Callable[[], Race]] = {
    made.__name__: made
    for made in (
        subscription_to_a_feed_that_is_being_archived,
        subscription_to_a_feed_that_is_becoming_private,
        subscription_of_an_account_that_is_being_archived,
        subscription_of_an_account_that_is_being_routed_to,
        route_to_an_account_that_is_subscribing,
        change_of_a_subscription_that_is_ending,
        route_of_a_subscription_that_is_ending,
        twin_of_a_subscription_that_is_ending,
        source_that_is_chosen_while_it_is_being_withdrawn,
        publication_in_a_feed_that_is_being_archived,
        new_signal_of_a_feed_that_is_being_archived,
        draft_of_a_feed_that_is_being_handed_over,
        signal_that_ends_while_it_waits_for_its_feed,
        publication_to_a_subscription_that_is_ending,
    )
}


@pytest.mark.parametrize("name", RACES)
def test_change_of_the_candidates_meets_another_one(name: str) -> None:
    require_one_winner(RACES[name]())
