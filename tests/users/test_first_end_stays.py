"""What has ended keeps its first end: a second end, or its successor's, changes nothing of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from django.db.models import Model

from common.clocks import market_now
from common.permissions import Role
from common.sealing import new_private_key, public_key_of
from connections import services
from connections.kill_switch import release_kill_switch, set_kill_switch
from connections.models import (
    DataConnection,
    KillSwitch,
    Subscription,
    SubscriptionInterval,
    SubscriptionTwin,
    TwinEnd,
)
from connections.twin_links import end_twins
from events.models import Notification
from events.services import mark_read
from signals.feeds.services import archive_feed, create_feed_token, revoke_feed_token
from signals.models import Feed, FeedToken
from tests.connections import make
from tests.roles import staff
from users.models import ApiKey, Invitation
from users.people.deletion import remove_login
from users.people.invitations import invite, revoke_invitation
from users.services import create_api_key, revoke_api_key

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def sealing(settings: Any) -> None:
    key = new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (key,)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(key)


class Ending(NamedTuple):
    """What ends the first of the rows, what comes again, and what both of them answer."""

    model: type[Model]
    field: str
    ends: Callable[[], Any]
    again: Callable[[], Any]
    answers: tuple[str, str]


def address_for_alerts() -> Ending:
    token, _ = create_feed_token(make.feed())

    def end() -> bool:
        return revoke_feed_token(token.pk)

    return Ending(FeedToken, "revoked_at", end, end, ("True", "False"))


def key_that_its_maker_ends_with() -> Ending:
    user = make.user()
    maker, _ = create_api_key(user, "maker")
    made, _ = create_api_key(user, "made")
    ApiKey.objects.filter(pk=made.pk).update(made_with=maker.pk)
    return Ending(
        ApiKey, "revoked_at", lambda: revoke_api_key(made.pk),
        lambda: revoke_api_key(maker.pk), ("True", "True"),
    )  # fmt: skip


def key_of_a_user_who_is_deleted() -> Ending:
    user = make.user()
    key, _ = create_api_key(user, "k")
    return Ending(
        ApiKey, "revoked_at", lambda: revoke_api_key(key.pk),
        lambda: remove_login(user), ("True", "None"),
    )  # fmt: skip


def invitation() -> Ending:
    made, _ = invite("for Zoe", by=None)

    def end() -> bool:
        return revoke_invitation(made.pk, by=None)

    return Ending(Invitation, "revoked_at", end, end, ("True", "False"))


def notification() -> Ending:
    user = make.user()
    first = Notification.objects.create(user=user, event_id=1, title="first")
    Notification.objects.create(user=user, event_id=2, title="second")
    return Ending(
        Notification, "read_at",
        lambda: mark_read(user_id=user.pk, notification_ids=[first.pk]),
        lambda: mark_read(user_id=user.pk), ("1", "1"),
    )  # fmt: skip


def archived_feed() -> Ending:
    feed = make.feed()

    def end() -> bool:
        return archive_feed(feed.pk)

    return Ending(Feed, "archived_at", end, end, ("True", "False"))


def subscription() -> Ending:
    made = make.subscription(make.connection(), make.feed())

    def end() -> bool:
        return services.unsubscribe(made.pk, by=None)

    return Ending(Subscription, "archived_at", end, end, ("True", "False"))


def subscription_of_an_account_that_is_archived() -> Ending:
    row = make.connection()
    made = make.subscription(row, make.feed())
    return Ending(
        Subscription, "archived_at", lambda: services.unsubscribe(made.pk, by=None),
        lambda: services.archive_connection(row.pk, by=None), ("True", "True"),
    )  # fmt: skip


def _subscribed_again() -> Subscription:
    row, feed = make.ready(make.connection()), make.feed()
    made = services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=None)
    services.unsubscribe(made.pk, by=None)
    return services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=None)


def time_before_a_second_subscription() -> Ending:
    made = _subscribed_again()
    return Ending(
        SubscriptionInterval, "ended_at", lambda: "before",
        lambda: services.unsubscribe(made.pk, by=None), ("before", "True"),
    )  # fmt: skip


def time_before_a_second_subscription_of_an_archived_account() -> Ending:
    made = _subscribed_again()
    return Ending(
        SubscriptionInterval, "ended_at", lambda: "before",
        lambda: services.archive_connection(made.connection_id, by=None), ("before", "True"),
    )  # fmt: skip


def _twin() -> SubscriptionTwin:
    owner = make.user()
    DataConnection.objects.create(name="shared")
    made = make.subscription(make.ready(make.connection(owner, type="mt5")), make.feed())
    return services.start_twin(made.pk, by=owner)[0]


def twin() -> Ending:
    link = _twin()
    return Ending(
        SubscriptionTwin, "ended_at",
        lambda: end_twins(market_now(), TwinEnd.STOPPED, pk=link.pk),
        lambda: end_twins(market_now(), TwinEnd.ACCOUNT, pk=link.pk), ("1", "0"),
    )  # fmt: skip


def twin_that_is_stopped() -> Ending:
    link = _twin()

    def end() -> bool:
        return services.stop_twin(link.subscription_id, by=None) is not None

    return Ending(SubscriptionTwin, "ended_at", end, end, ("True", "False"))


def twin_before_a_second_one() -> Ending:
    link = _twin()
    services.stop_twin(link.subscription_id, by=None)
    owner = link.subscription.connection.user
    assert owner is not None
    services.start_twin(link.subscription_id, by=owner)

    def end_the_second() -> bool:
        return services.stop_twin(link.subscription_id, by=None) is not None

    return Ending(
        SubscriptionTwin, "ended_at", lambda: "before", end_the_second, ("before", "True")
    )


def halt() -> Ending:
    operator = staff(Role.OPERATOR)
    switch = set_kill_switch(scope="ALL", mode="HALTED", reason="first", by=operator)

    def end() -> bool:
        return release_kill_switch(switch.pk, by=operator)

    return Ending(KillSwitch, "released_at", end, end, ("True", "False"))


ENDINGS: dict[str, Callable[[], Ending]] = {
    made.__name__: made
    for made in (
        address_for_alerts,
        key_that_its_maker_ends_with,
        key_of_a_user_who_is_deleted,
        invitation,
        notification,
        archived_feed,
        subscription,
        subscription_of_an_account_that_is_archived,
        time_before_a_second_subscription,
        time_before_a_second_subscription_of_an_archived_account,
        twin,
        twin_that_is_stopped,
        twin_before_a_second_one,
        halt,
    )
}


@pytest.mark.parametrize("name", ENDINGS)
def test_first_end_stays(name: str) -> None:
    ending = ENDINGS[name]()
    ends = str(ending.ends())
    rows = ending.model._default_manager.exclude(**{ending.field: None})
    ended = list(rows.values())
    assert len(ended) == 1, "one of them has ended"
    answers = ends, str(ending.again())
    assert answers == ending.answers
    now = ending.model._default_manager.filter(pk__in=[row["id"] for row in ended]).values()
    assert list(now) == ended
