"""Two requests, or two workers, act on one channel, message or preflight at the same time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from events import confirmation, push_keys, push_services, webhook_services, webhooks
from events.models import Channel, Event, EventKind, Notification
from events.push import Subscription
from events.routing import route_events
from tests.changes.races import Race, require_one_winner
from tests.connections import make
from tests.operational import set_setting
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def surroundings(settings: Any, limits: Callable[..., None]) -> None:
    """Browsers may subscribe, and a session waits for as long as the test."""
    private = push_keys.new_private_key()
    settings.FILLCAST_PUSH_PRIVATE_KEYS = (private,)
    settings.FILLCAST_PUSH_PUBLIC_KEY = push_keys.public_key_of(private)
    set_setting("messages.push_contact", "operator@example.com")
    limits(lock_timeout=60_000)


def _events(kind: EventKind) -> int:
    return Event.objects.filter(kind=kind).count()


def _mail_channel(owner: User, **fields: Any) -> Channel:
    return Channel.objects.create(
        user=owner, name="mail", url_sealed=b"", url_display="mailto:example.com", **fields
    )


def two_requests_for_a_confirmation() -> Race:
    channel = _mail_channel(make.user())

    def ask() -> None:
        confirmation.request_confirmation(channel.pk)

    return Race(
        ask, ask, ("done", "CONFIRMATION_LIMIT"),
        lambda: _events(EventKind.CHANNEL_CONFIRMATION), 1,
    )  # fmt: skip


def last_confirmation_of_a_day_for_two_channels() -> Race:
    owner = make.user()
    one, other = _mail_channel(owner), _mail_channel(owner)
    for _ in range(confirmation.MAX_PER_DAY - 1):
        Event.objects.create(kind=EventKind.CHANNEL_CONFIRMATION, user_id=owner.pk)
    return Race(
        lambda: confirmation.request_confirmation(one.pk),
        lambda: confirmation.request_confirmation(other.pk),
        ("done", "CONFIRMATION_LIMIT"), lambda: _events(EventKind.CHANNEL_CONFIRMATION),
        confirmation.MAX_PER_DAY,
    )  # fmt: skip


def confirmation_by_a_link_that_is_being_replaced() -> Race:
    asked = datetime.now(UTC) - timedelta(hours=1)
    channel = _mail_channel(make.user(), confirmation_requested_at=asked)
    code = confirmation.code_of(channel)

    def left() -> object:
        return Channel.objects.get(pk=channel.pk).confirmed_at

    return Race(
        lambda: confirmation.request_confirmation(channel.pk),
        lambda: confirmation.confirm(channel.pk, code), ("done", "CONFIRMATION_INVALID"), left,
    )  # fmt: skip


def two_new_secrets() -> Race:
    """The first new one has been shown, so messages are signed with it for a while, too."""
    channel, _ = webhook_services.create_webhook(
        user_id=make.user().pk, name="bot", url="https://example.com/"
    )
    shown: list[str] = []

    def rotate() -> None:
        shown.append(webhook_services.rotate_secret(channel.pk))

    def left() -> bool:
        stored = webhooks.secrets_of(Channel.objects.get(pk=channel.pk), now=datetime.now(UTC))
        return stored == shown[::-1]

    return Race(rotate, rotate, ("done", "done"), left, True)


def _browser(owner: User) -> Callable[[], int]:
    key = push_keys.public_key_of(push_keys.new_private_key())
    browser = Subscription("https://push.example.com/1", key, b"sixteen bytes...")
    return lambda: (
        push_services.subscribe_browser(user_id=owner.pk, name="phone", subscription=browser).pk
    )


def one_browser_that_subscribes_twice() -> Race:
    subscribe = _browser(make.user())
    return Race(
        lambda: subscribe() > 0, lambda: subscribe() > 0, ("True", "True"),
        Channel.objects.count, 1,
    )  # fmt: skip


def two_ends_of_a_browser() -> Race:
    channel_id = _browser(make.user())()

    def end() -> None:
        push_services.end_browser(channel_id, "It has gone.")

    return Race(end, end, ("done", "done"), lambda: _events(EventKind.CHANNEL_ENDED), 1)


def two_workers_at_one_event() -> Race:
    owner = make.user()
    Event.objects.create(kind=EventKind.SIGNAL_PUBLISHED, user_id=owner.pk, payload={})
    return Race(
        lambda: route_events(10), lambda: route_events(10), ("1", "0"), Notification.objects.count,
        1,
    )  # fmt: skip


RACES: dict[str, Callable[[], Race]] = {
    made.__name__: made
    for made in (
        two_requests_for_a_confirmation,
        last_confirmation_of_a_day_for_two_channels,
        confirmation_by_a_link_that_is_being_replaced,
        two_new_secrets,
        one_browser_that_subscribes_twice,
        two_ends_of_a_browser,
        two_workers_at_one_event,
    )
}


@pytest.mark.parametrize("name", RACES)
def test_act_on_a_channel_has_one_winner(name: str) -> None:
    require_one_winner(RACES[name]())
