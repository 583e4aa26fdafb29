"""Channels in the portal: an e-mail address gets no notifications until it is confirmed."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.test import Client

from common.db.sql import rows, run
from common.sealing import new_private_key, public_key_of
from events.confirmation import code_of
from events.models import Channel, Delivery, Event, EventKind, Notification
from events.services import NewEvent, deliver, emit_many
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from users.models import User

pytestmark = pytest.mark.usefixtures("sends")
LINK = re.compile(r"https://fillcast\.example\.com(/channels/\d+/confirm/[a-z2-7]+/)")
API = "/api/v1/channels/"
NEW = "/channels/create/advanced/"


@pytest.fixture(autouse=True)
def keys(world: World, settings: Any) -> None:
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_PUBLIC_URL = "https://fillcast.example.com"
    Notification.objects.all().delete()
    Channel.objects.all().delete()


@pytest.fixture
def send() -> Callable[[], list[str]]:
    """Return a function that delivers as a worker does, without row-level security.

    It returns the subjects of the messages that it sent.
    """

    def delivered() -> list[str]:
        (role,) = rows("SELECT current_user AS name")
        run("RESET ROLE")
        run("UPDATE events_channel SET backoff_until = NULL")
        before = len(mail.outbox)
        deliver()
        run(f"SET ROLE {role.name}")
        return [str(message.subject) for message in mail.outbox[before:]]

    return delivered


def emit_event(user: User) -> None:
    """Emit an event that the user's channels are sent."""
    (role,) = rows("SELECT current_user AS name")
    run("RESET ROLE")
    from django.db import transaction

    with transaction.atomic():
        emit_many([NewEvent(EventKind.ORDER_FILLED, user.pk, payload={"trade": "Buy 1 EUR/USD"})])
    run(f"SET ROLE {role.name}")


def link() -> str:
    match = LINK.search(str(mail.outbox[-1].body))
    assert match
    return match[1]


def channel() -> Channel:
    return Channel.objects.get()


def link_now() -> str:
    """Return the link of the request whose time `age_request` changed: the code depends on it."""
    return f"/channels/{channel().pk}/confirm/{code_of(channel())}/"


def age_request(hours: float) -> None:
    run(
        "UPDATE events_channel SET confirmation_requested_at = confirmation_requested_at"
        " - make_interval(secs => %s)",
        (hours * 3600,),
    )


@pytest.mark.parametrize("username", ["alice", "olga"])
def test_address_gets_only_the_link_until_it_is_confirmed(
    world: World, signed_in: SignedIn, send: Callable[[], list[str]], username: str
) -> None:
    user: User = getattr(world, username)
    client, anonymous = signed_in(user), Client()
    created = client.post(NEW, {"name": "phone", "url": "mailto:a@example.com"})
    assert created.status_code == 302
    assert send() == ["Confirm this address for Fillcast notifications"]
    assert mail.outbox[0].to == ["a@example.com"]
    emit_event(user)
    assert send() == []
    listed = html_of(client.get("/channels/"))
    assert "Not confirmed" in listed
    assert "Nothing is sent there yet." in listed
    assert client.post(f"/channels/{channel().pk}/test/", follow=True).status_code == 200
    assert send() == [], "no test message either"

    page = html_of(anonymous.get(link()))
    assert f"{user.username} wants Fillcast to send notifications" in page
    emit_event(user)
    assert send() == [], "opening the link does not confirm: mail servers open links, too"
    confirmed = anonymous.post(link())
    assert "The address is confirmed" in html_of(confirmed)
    assert send() == [], "earlier events are in the inbox only"
    emit_event(user)
    assert send() == ["Filled: Buy 1 EUR/USD"]
    assert Delivery.objects.filter(status="PENDING").count() == 0
    client.post(f"/channels/{channel().pk}/test/")
    assert send() == ["Fillcast can reach you here"]


def test_portal_lists_creates_and_removes_ones_own_channels(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client = signed_in(world.alice)
    assert "No channels yet" in html_of(client.get("/channels/"))
    assert "apprise URL" in html_of(client.get(NEW))
    response = client.post(NEW, {"name": "x", "url": "invalid"})
    assert (response.status_code, b"not a channel" in response.content) == (422, True)
    payload = {"name": "hook", "url": "https://hooks.example.com/s3cret"}
    assert client.post(NEW, payload).status_code == 302
    listed = html_of(client.get("/channels/"))
    assert "https://hooks.example.com" in listed
    assert "s3cret" not in listed
    pk = client.get(API).json()["results"][0]["id"]
    for action in ("test", "resend", "remove"):
        assert signed_in(world.bob).post(f"/channels/{pk}/{action}/").status_code == 404
    assert "Remove the channel" in html_of(client.get(f"/channels/{pk}/remove/"))
    client.post(f"/channels/{pk}/remove/")
    assert "No channels yet" in html_of(client.get("/channels/"))


def test_link_expires_after_two_days_and_when_a_new_one_is_sent(
    world: World, signed_in: SignedIn, send: Callable[[], list[str]]
) -> None:
    client, anonymous = signed_in(world.alice), Client()
    client.post(NEW, {"name": "phone", "url": "mailto:a@example.com"})
    send()
    first = link()
    age_request(47.9)
    assert anonymous.get(link_now()).status_code == 200
    age_request(0.2)
    for old in (first, link_now()):
        assert anonymous.get(old).status_code == 404
        assert anonymous.post(old).status_code == 404
    client.post(f"/channels/{channel().pk}/resend/")
    assert len(send()) == 1
    assert link() != first
    assert anonymous.post(first).status_code == 404
    assert channel().confirmed_at is None
    assert anonymous.post(link()).status_code == 200
    assert channel().confirmed_at is not None


def test_link_of_a_deactivated_user_is_not_valid(
    world: World, signed_in: SignedIn, send: Callable[[], list[str]]
) -> None:
    payload = {"name": "phone", "url": "mailto:a@example.com"}
    signed_in(world.alice).post(NEW, payload)
    assert len(send()) == 1
    User.objects.filter(pk=world.alice.pk).update(is_active=False)
    anonymous = Client(raise_request_exception=False)
    for response in (anonymous.get(link()), anonymous.post(link())):
        assert response.status_code == 404
        assert "This link is not valid" in html_of(response)
    assert channel().confirmed_at is None


def test_confirmation_messages_are_limited_by_channel_and_user(
    world: World, signed_in: SignedIn, send: Callable[[], list[str]]
) -> None:
    client = signed_in(world.alice)
    payload = {"name": "phone", "url": "mailto:a@example.com"}
    pk = client.post(API, payload, "application/json").json()["id"]
    refused = client.post(f"{API}{pk}/resend/")
    assert (refused.status_code, refused.json()["code"]) == (409, "CONFIRMATION_LIMIT")
    assert len(send()) == 1
    for _ in range(9):
        age_request(1)
        assert client.post(f"{API}{pk}/resend/").status_code == 202
        assert len(send()) == 1
    age_request(1)
    assert client.post(f"{API}{pk}/resend/").json()["code"] == "CONFIRMATION_LIMIT"
    client.delete(f"{API}{pk}/")
    other = client.post(API, payload, "application/json")
    assert other.json()["code"] == "CONFIRMATION_LIMIT", "removing the channel does not help"
    assert not Channel.objects.exists()
    assert signed_in(world.bob).post(API, payload, "application/json").status_code == 201


def test_address_is_confirmed_by_api_with_the_code(
    world: World, signed_in: SignedIn, send: Callable[[], list[str]]
) -> None:
    client = signed_in(world.alice)
    created = client.post(
        API, {"name": "m", "url": "mailto:a@example.com"}, "application/json"
    ).json()
    assert created["confirmed_at"] is None
    send()
    code = link().split("/")[-2]
    at = f"{API}{created['id']}/"
    assert client.post(f"{at}test/").json()["code"] == "CHANNEL_UNCONFIRMED"
    wrong = client.post(f"{at}confirm/", {"code": "a" * 24}, "application/json")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "CONFIRMATION_INVALID")
    others = signed_in(world.bob).post(f"{at}confirm/", {"code": code}, "application/json")
    assert others.status_code == 404
    right = client.post(f"{at}confirm/", {"code": code}, "application/json")
    assert right.json()["confirmed_at"] is not None
    assert client.post(f"{at}resend/").json()["code"] == "STATE_CONFLICT"


def test_link_of_another_channel_does_not_confirm(
    world: World, signed_in: SignedIn, send: Callable[[], list[str]]
) -> None:
    client = signed_in(world.alice)
    for name in ("one", "two"):
        client.post(NEW, {"name": name, "url": f"mailto:{name}@example.com"})
    send()
    first, second = Channel.objects.order_by("id")
    code = next(LINK.search(str(m.body)) for m in mail.outbox if m.to == ["one@example.com"])
    assert code
    swapped = code[1].replace(f"/channels/{first.pk}/", f"/channels/{second.pk}/")
    assert Client().post(swapped).status_code == 404
    assert not Channel.objects.exclude(confirmed_at=None).exists()


def test_unconfirmed_older_channel_gets_messages_until_its_deadline(
    world: World, signed_in: SignedIn, send: Callable[[], list[str]]
) -> None:
    client = signed_in(world.alice)
    client.post(NEW, {"name": "phone", "url": "mailto:a@example.com"})
    run("UPDATE events_channel SET confirm_by = clock_timestamp() + interval '1 day'")
    emit_event(world.alice)
    assert "Notifications are sent there until" in html_of(client.get("/channels/"))
    assert sorted(send() + send()) == [
        "Confirm this address for Fillcast notifications",
        "Filled: Buy 1 EUR/USD",
    ]
    run("UPDATE events_channel SET confirm_by = clock_timestamp() - interval '1 second'")
    emit_event(world.alice)
    assert send() == []


def test_confirmation_is_written_by_the_web_role(
    world: World, signed_in: SignedIn, send: Callable[[], list[str]], as_web: None
) -> None:
    client = signed_in(world.alice)
    client.post(NEW, {"name": "phone", "url": "mailto:a@example.com"})
    assert len(send()) == 1
    assert Client().post(link()).status_code == 200
    assert client.get(API).json()["results"][0]["confirmed_at"] is not None
    assert "Confirm" not in {event.kind for event in Event.objects.all()}
