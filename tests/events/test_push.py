"""Push messages to browsers, against a push service that checks and decrypts each request."""

from collections.abc import Iterator
from datetime import time, timedelta

import pytest
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

from common.errors import ConflictError, InvalidInputError
from common.sealing import new_private_key, public_key_of
from connections.credentials.key_rotation import reseal_all
from events import push_keys, push_services, services, webhook_services
from events.channel_rules import set_kinds, set_rules
from events.models import (
    Channel,
    Delivery,
    Event,
    EventKind,
    Notification,
    WebhookAttempt,
    WebhookMessage,
)
from events.push import Subscription
from events.services import Delivered, NewEvent
from tests.events.receiver import Receiver
from tests.events.test_delivery import channel_to, fill, happen, rested, statuses
from tests.fakes.push_service.service import (
    Answer,
    BrowserSubscription,
    PushService,
    push_service,
)
from tests.operational import set_setting
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)


def use_keys(settings: Settings, *private: bytes) -> str:
    """Let the installation have these keys, newest first; return the public one, as browsers do."""
    settings.FILLCAST_PUSH_PRIVATE_KEYS = private
    settings.FILLCAST_PUSH_PUBLIC_KEY = push_keys.public_key_of(private[0])
    set_setting("messages.push_contact", "operator@example.com")
    return push_keys.offered_key()


@pytest.fixture
def key(settings: Settings) -> str:
    return use_keys(settings, push_keys.new_private_key())


@pytest.fixture
def service() -> Iterator[PushService]:
    with push_service() as running:
        yield running
        assert running.faults == []


@pytest.fixture
def browser(service: PushService, key: str) -> BrowserSubscription:
    return service.subscribe(key)


def checked(browser: BrowserSubscription) -> Subscription:
    return push_services.checked_subscription(browser.endpoint, browser.p256dh, browser.auth)


def subscribe(user: User, browser: BrowserSubscription, name: str = "Chrome on Mac") -> Channel:
    return push_services.subscribe_browser(
        user_id=user.pk, name=name, subscription=checked(browser)
    )


@pytest.fixture
def channel(alice: User, browser: BrowserSubscription) -> Channel:
    return subscribe(alice, browser)


def test_browser_reads_the_message_that_only_it_can_read(
    alice: User, browser: BrowserSubscription, service: PushService, channel: Channel
) -> None:
    happen(fill(alice, signal_id=7))
    assert services.deliver() == Delivered(events=1, messages=1, failures=0)
    (got,) = service.journal
    assert got.message["title"].startswith("Filled")
    assert got.message["page"] == "/signals/7/"
    assert got.claims["aud"] == service.origin
    assert got.claims["sub"] == "mailto:operator@example.com"
    assert (got.headers["ttl"], got.headers["urgency"]) == ("43200", "normal")
    assert "topic" not in got.headers
    channel.refresh_from_db()
    assert channel.last_sent_at is not None
    assert statuses() == [("SENT", 1)]
    stored = bytes(channel.url_sealed).decode("latin-1") + channel.url_display
    assert not any(part in stored for part in (browser.auth, browser.p256dh, browser.endpoint))


def test_risk_is_urgent_and_later_state_replaces_earlier_one(
    alice: User, browser: BrowserSubscription, service: PushService
) -> None:
    subscribe(alice, browser)
    happen(NewEvent(EventKind.POSITION_UNPROTECTED, alice.pk, payload={"position": 5}))
    services.deliver()
    for kind in (EventKind.HOST_DOWN, EventKind.HOST_UP):
        happen(NewEvent(kind, alice.pk, payload={"host": "h"}))
        rested()
        services.deliver()
    risk, down, up = service.journal
    assert (risk.headers["urgency"], risk.headers["ttl"]) == ("high", str(3 * 86_400))
    assert risk.message["urgent"] is True
    assert risk.message["page"] == "/positions/5/"
    assert down.headers["topic"] == up.headers["topic"] == down.message["tag"]
    assert len(down.headers["topic"]) == 32
    assert down.message["urgent"] is False


@pytest.mark.parametrize("status", [404, 410])
def test_ended_subscription_ends_the_channel_and_notifies_its_owner(
    alice: User, service: PushService, hook: Receiver, status: int, channel: Channel
) -> None:
    channel_to(alice, hook.url())
    service.answers = [Answer(status)]
    happen(fill(alice))
    services.deliver()
    channel.refresh_from_db()
    assert channel.ended_at is not None
    assert not channel.is_active
    rested()
    services.deliver()  # what reports the end
    note = Notification.objects.get(kind=EventKind.CHANNEL_ENDED)
    assert note.title == "Push messages to “Chrome on Mac” have ended"
    assert f"The push service answered {status}." in note.body
    assert "Notify this browser" in note.body
    assert hook.journal[-1]["title"] == note.title
    happen(fill(alice))
    rested()
    services.deliver()
    assert service.requests == 1
    assert not Delivery.objects.filter(channel=channel, status="PENDING").exists()
    with pytest.raises(ConflictError, match="ended its subscription"):
        services.send_test(channel_id=channel.pk)
    with pytest.raises(ConflictError, match="ended its subscription"):
        set_rules(channel.pk, is_active=True)


def test_ended_subscription_gives_up_every_message_that_waits(
    alice: User, service: PushService, channel: Channel
) -> None:
    happen(fill(alice))
    services.deliver()
    service.answers = [Answer(503), Answer(410)]
    happen(fill(alice))
    rested()
    services.deliver()
    first, _ = WebhookMessage.objects.order_by("id")
    webhook_services.resend(first.pk)
    services.deliver()
    channel.refresh_from_db()
    assert channel.ended_at is not None
    assert set(WebhookMessage.objects.values_list("status", flat=True)) == {"FAILED"}


def test_removed_browser_is_found_by_its_push_service(
    browser: BrowserSubscription, service: PushService, channel: Channel
) -> None:
    service.unsubscribe(browser)
    services.send_test(channel_id=channel.pk)
    services.deliver()
    channel.refresh_from_db()
    assert channel.ended_at is not None
    assert WebhookAttempt.objects.get().status_code == 410


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_push_service_is_tried_again_when_it_says(
    alice: User, service: PushService, status: int, channel: Channel
) -> None:
    service.answers = [Answer(status, {"Retry-After": "1800"})]
    happen(fill(alice))
    assert services.deliver() == Delivered(1, 0, 1)
    channel.refresh_from_db()
    assert channel.backoff_until is not None
    wait = (channel.backoff_until - timezone.now()).total_seconds()
    assert 1_700 < wait <= 1_800
    assert services.deliver() == Delivered(0, 0, 0)
    rested()
    assert services.deliver() == Delivered(0, 1, 0)
    assert statuses() == [("SENT", 2)]
    codes = WebhookAttempt.objects.order_by("id").values_list("status_code", flat=True)
    assert list(codes) == [status, 201]
    channel.refresh_from_db()
    assert channel.is_active


def test_too_large_message_is_sent_without_its_text(
    alice: User, browser: BrowserSubscription, service: PushService
) -> None:
    subscribe(alice, browser)
    service.answers = [Answer(413)]
    happen(fill(alice))
    assert services.deliver() == Delivered(1, 1, 0)
    assert service.journal[0].message["body"] == ""
    service.answers = [Answer(413), Answer(413)]
    happen(fill(alice))
    rested()
    services.deliver()
    assert statuses()[-1] == ("FAILED", 1)  # a third try would not help


@pytest.mark.parametrize("status", [400, 401, 403])
def test_refused_key_is_tried_again_and_ends_nothing(
    alice: User, service: PushService, status: int, channel: Channel
) -> None:
    service.answers = [Answer(status, body=b"BadJwtToken")]
    happen(fill(alice))
    services.deliver()
    channel.refresh_from_db()
    assert channel.ended_at is None
    assert f"answered {status}. It refuses the request" in channel.last_error
    assert WebhookAttempt.objects.get().answer == "BadJwtToken"
    rested()
    assert services.deliver() == Delivered(0, 1, 0)


def test_long_message_fits_and_is_cut_at_a_line(
    alice: User, browser: BrowserSubscription, service: PushService
) -> None:
    subscribe(alice, browser)
    detail = "\n".join(f"Zeile {number} “üß” 日本語 \\ \x01" for number in range(3_000))
    happen(
        NewEvent(
            EventKind.ALERT_REFUSED, alice.pk, payload={"code": "UNEXPECTED", "detail": detail}
        )
    )
    assert services.deliver() == Delivered(1, 1, 0)
    (got,) = service.journal
    assert 2_500 < got.size <= 3_103
    assert got.message["body"].endswith("…")
    assert len(got.message["title"].encode()) <= 120


def test_repetition_has_the_same_tag_so_it_shows_once(
    alice: User, browser: BrowserSubscription, service: PushService
) -> None:
    subscribe(alice, browser)
    happen(fill(alice), fill(alice))
    services.deliver()
    Delivery.objects.update(status="PENDING")  # as after a crash between the send and its outcome
    from events.models import WebhookMessage

    WebhookMessage.objects.update(status="PENDING")
    rested()
    services.deliver()
    first, second = service.journal
    assert first.message == second.message
    assert first.message["tag"].startswith("msg_")


def test_kinds_quiet_hours_and_digest_hold_for_browsers(
    alice: User, service: PushService, channel: Channel
) -> None:
    set_kinds({channel.pk: [EventKind.ORDER_FILLED, EventKind.KILL_SWITCH]}, user_id=alice.pk)
    set_rules(channel.pk, digest="DAILY", digest_at=time(0, 0))
    happen(fill(alice), fill(alice), NewEvent(EventKind.ORDER_DENIED, alice.pk))
    services.deliver()
    assert service.journal == []
    happen(NewEvent(EventKind.KILL_SWITCH, alice.pk))
    services.deliver()
    assert [got.message["urgent"] for got in service.journal] == [True]
    Delivery.objects.filter(hold_until__isnull=False).update(
        hold_until=F("hold_until") - timedelta(days=2)
    )
    rested()
    services.deliver()
    assert service.journal[-1].message["title"] == "This day: 2 orders filled: S-1"


def test_older_key_is_used_until_the_browser_subscribes_again(
    alice: User, service: PushService, settings: Settings
) -> None:
    old, new = push_keys.new_private_key(), push_keys.new_private_key()
    browser = service.subscribe(use_keys(settings, old))
    channel = subscribe(alice, browser)
    newer_key = use_keys(settings, new, old)
    happen(fill(alice))
    assert services.deliver() == Delivered(1, 1, 0)
    again = service.subscribe(newer_key)
    renewed = push_services.renew_browser(channel.pk, checked(again))
    assert (renewed.pk, renewed.push_key) == (channel.pk, newer_key)
    use_keys(settings, new)
    happen(fill(alice))
    rested()
    assert services.deliver() == Delivered(1, 1, 0)
    assert push_services.find_browser(browser.endpoint, browser.auth) is None
    assert push_services.find_browser(again.endpoint, again.auth) == renewed


def test_key_that_is_gone_ends_the_channel_until_it_is_renewed(
    alice: User, service: PushService, settings: Settings, channel: Channel
) -> None:
    newer_key = use_keys(settings, push_keys.new_private_key())
    happen(fill(alice))
    services.deliver()
    channel.refresh_from_db()
    assert channel.ended_at is not None
    assert service.requests == 0
    push_services.renew_browser(channel.pk, checked(service.subscribe(newer_key)))
    channel.refresh_from_db()
    assert channel.is_active


def test_worker_without_the_current_key_ends_nothing(
    alice: User, settings: Settings, channel: Channel
) -> None:
    settings.FILLCAST_PUSH_PRIVATE_KEYS = ()
    happen(fill(alice))
    services.deliver()
    channel.refresh_from_db()
    assert channel.ended_at is None
    assert "lacks the current key" in channel.last_error


def test_renewal_keeps_a_channel_off_that_its_owner_switched_off(
    browser: BrowserSubscription, channel: Channel
) -> None:
    set_rules(channel.pk, is_active=False)
    assert not push_services.renew_browser(channel.pk, checked(browser)).is_active


def test_renewal_onto_another_channel_of_the_browser_ends_the_old_one(
    alice: User, browser: BrowserSubscription, service: PushService
) -> None:
    old = subscribe(alice, browser)
    again = service.subscribe(push_keys.offered_key())
    other = subscribe(alice, again, name="again")
    assert push_services.renew_browser(old.pk, checked(again)) == other
    old.refresh_from_db()
    assert (old.is_active, old.ended_at is None) == (False, False)


def test_subscribing_twice_is_one_channel(
    alice: User, bob: User, browser: BrowserSubscription
) -> None:
    assert subscribe(alice, browser) == subscribe(alice, browser, name="again")
    assert subscribe(bob, browser).user == bob
    assert Channel.objects.count() == 2


def test_subscription_is_resealed_with_the_others(
    service: PushService, settings: Settings, channel: Channel
) -> None:
    newer = new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (
        newer, *settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS,
    )  # fmt: skip
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(newer)
    assert [*reseal_all(batch=10)][-1].resealed == 1
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (newer,)
    services.send_test(channel_id=channel.pk)
    services.deliver()
    assert service.journal[0].message["title"] == "Fillcast can reach you here"


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://fcm.googleapis.com/x", "https://10.0.0.1/x", "https://[::1]/x",
        "https://169.254.169.254/latest", "http://10.0.0.1/x", "ftp://example.com/x",
        "https://user@example.com/x", "https://example.com/x#y", "https://example.com/a b",
        "https://example.com:x/", "//example.com", "", "https://example.com/" + "a" * 1_000,
    ],
)  # fmt: skip
def test_endpoint_must_be_a_public_https_address(
    alice: User, browser: BrowserSubscription, endpoint: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        push_services.checked_subscription(endpoint, browser.p256dh, browser.auth)
    assert refused.value.field == "endpoint"


@pytest.mark.parametrize(
    ("p256dh", "auth", "field"),
    [
        ("", None, "p256dh"), ("AAAA", None, "p256dh"), ("é" * 87, None, "p256dh"),
        (push_keys.encoded(b"\x04" + b"\x01" * 64), None, "p256dh"),
        (push_keys.encoded(b"\x02" + b"\x01" * 32), None, "p256dh"),
        (None, "", "auth"), (None, "AAAA", "auth"), (None, "A+/=" * 6, "auth"),
    ],
)  # fmt: skip
def test_wrong_keys_of_a_browser_are_refused(
    browser: BrowserSubscription, p256dh: str | None, auth: str | None, field: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        push_services.checked_subscription(
            browser.endpoint,
            browser.p256dh if p256dh is None else p256dh,
            browser.auth if auth is None else auth,
        )
    assert refused.value.field == field


def test_private_address_is_refused_again_when_it_is_sent(
    alice: User, service: PushService, settings: Settings, channel: Channel
) -> None:
    """A name may lead elsewhere by then."""
    set_setting("networks.outbound_networks", ())
    happen(fill(alice))
    services.deliver()
    assert service.requests == 0
    channel.refresh_from_db()
    assert "127.0.0.1" in channel.last_error
    assert statuses() == [("FAILED", 1)]


def test_nothing_is_offered_without_a_key(
    alice: User, browser: BrowserSubscription, settings: Settings
) -> None:
    settings.FILLCAST_PUSH_PUBLIC_KEY = None
    with pytest.raises(ConflictError, match="vapid_key"):
        subscribe(alice, browser)
    assert not Channel.objects.exists()
    assert not Event.objects.exists()
