"""Browsers as channels in the portal: the form, the service worker, the renewal."""

import json
from typing import Any

import pytest
from django.test import Client

from common.sealing import new_private_key, public_key_of
from events import push_keys, push_services
from events.models import Channel
from tests.fakes.push_service.service import BrowserSubscription
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World

pytestmark = pytest.mark.django_db
RENEW, NEW = "/push/renew/", "/channels/create/browser/"
AGENT = ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
         "Chrome/142.0.0.0 Safari/537.36")  # fmt: skip


@pytest.fixture(autouse=True)
def keys(world: World, settings: Any) -> None:
    private, push = new_private_key(), push_keys.new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_PUSH_PUBLIC_KEY = push_keys.public_key_of(push)
    Channel.objects.all().delete()


@pytest.fixture
def client(world: World, signed_in: SignedIn) -> Client:
    return signed_in(world.alice)


def browser(name: str = "first") -> BrowserSubscription:
    return BrowserSubscription(f"https://push.example.com/{name}", push_keys.offered_key())


def fields(one: BrowserSubscription) -> dict[str, str]:
    return {"endpoint": one.endpoint, "p256dh": one.p256dh, "auth": one.auth}


def subscribed(world: World, one: BrowserSubscription) -> Channel:
    checked = push_services.checked_subscription(**fields(one))
    return push_services.subscribe_browser(
        user_id=world.alice.pk, name="Chrome on Mac", subscription=checked
    )


def renewal(client: Client, body: Any, **headers: str) -> Any:
    return client.post(RENEW, json.dumps(body), content_type="application/json", headers=headers)


def known(one: BrowserSubscription, new: BrowserSubscription | None = None) -> dict[str, Any]:
    return {"endpoint": one.endpoint, "auth": one.auth} | ({"new": new.as_json()} if new else {})


def test_browser_becomes_a_channel_named_by_itself(client: Client) -> None:
    one = browser()
    response = client.post(NEW, fields(one), headers={"User-Agent": AGENT})
    channel = Channel.objects.get()
    assert response["Location"] == f"/channels/{channel.pk}/"
    assert channel.name == "Chrome on Windows"
    assert push_services.subscription_of(channel).endpoint == one.endpoint
    shown = html_of(client.get(f"/channels/{channel.pk}/"))
    assert "Send a test message" in shown
    assert "Delivery log" in shown
    assert "browser, through push.example.com" in html_of(client.get("/channels/"))
    assert one.endpoint not in shown
    client.post(f"/channels/{channel.pk}/remove/")
    assert not Channel.objects.exists()


def test_wrong_subscription_is_refused_with_its_reason(client: Client) -> None:
    response = client.post(NEW, fields(browser()) | {"endpoint": "https://10.0.0.1/x"})
    assert response.status_code == 422
    assert "public hosts" in html_of(response)
    assert not Channel.objects.exists()


@pytest.mark.parametrize("page", ["/inbox/", "/channels/", NEW])
def test_pages_offer_the_button_with_the_key(client: Client, page: str) -> None:
    shown = html_of(client.get(page))
    assert "Notify this browser" in shown
    assert f'data-key="{push_keys.offered_key()}"' in shown


@pytest.mark.parametrize("page", ["/inbox/", "/channels/", NEW, "/channels/create/"])
def test_pages_state_what_the_operator_does_without_a_key(
    client: Client, settings: Any, page: str
) -> None:
    settings.FILLCAST_PUSH_PUBLIC_KEY = None
    shown = html_of(client.get(page))
    assert "manage.py vapid_key" in shown
    assert "Notify this browser" not in shown
    assert f'href="{NEW}"' not in shown
    response = client.post(NEW, fields(browser()))
    assert (response.status_code, Channel.objects.count()) == (422, 0)


def test_service_worker_is_for_all_pages_and_never_stale() -> None:
    response = Client().get("/push.js")
    assert response["Content-Type"] == "text/javascript; charset=utf-8"
    assert response["Service-Worker-Allowed"] == "/"
    assert response["Cache-Control"] == "no-cache"
    assert response["Content-Security-Policy"].startswith("default-src 'none'")
    assert b'addEventListener("push"' in response.content
    assert b'"fetch"' not in response.content  # it answers no request, so it keeps no page


def test_policy_of_pages_allows_own_workers_only(client: Client) -> None:
    policy = client.get("/channels/")["Content-Security-Policy"]
    assert "worker-src 'self'" in policy
    assert "manifest-src 'self'" in policy


def test_owner_sees_which_channel_the_browser_is(client: Client, world: World) -> None:
    one = browser()
    channel = subscribed(world, one)
    assert renewal(client, known(one)).json() == {
        "known": True, "mine": True, "name": "Chrome on Mac", "active": True, "ended": False,
        "page": f"/channels/{channel.pk}/",
    }  # fmt: skip
    assert renewal(client, known(browser())).json() == {"known": False, "mine": False}


def test_renewal_replaces_the_subscription(client: Client, world: World, settings: Any) -> None:
    old = browser()
    channel = subscribed(world, old)
    settings.FILLCAST_PUSH_PUBLIC_KEY = push_keys.public_key_of(push_keys.new_private_key())
    new = browser("second")
    assert renewal(client, known(old, new)).json()["mine"] is True
    channel.refresh_from_db()
    assert channel.push_key == new.server_key != old.server_key
    assert push_services.subscription_of(channel).endpoint == new.endpoint
    assert renewal(client, known(old)).json()["known"] is False


def test_service_worker_renews_without_a_session(world: World) -> None:
    old, new = browser(), browser("second")
    channel = subscribed(world, old)
    anonymous = Client(enforce_csrf_checks=True)
    assert renewal(anonymous, known(old, new)).json() == {"known": True, "mine": False}
    channel.refresh_from_db()
    assert push_services.subscription_of(channel).endpoint == new.endpoint
    assert channel.user == world.alice


def test_secret_of_the_subscription_is_needed(world: World) -> None:
    old, new = browser(), browser("second")
    channel = subscribed(world, old)
    guess = {**known(old, new), "auth": browser().auth}
    assert renewal(Client(), guess).json() == {"known": False, "mine": False}
    channel.refresh_from_db()
    assert push_services.subscription_of(channel).endpoint == old.endpoint


def test_renewal_cannot_lead_to_a_private_address(world: World) -> None:
    old = browser()
    channel = subscribed(world, old)
    new = {**browser().as_json(), "endpoint": "https://192.168.0.1/x"}
    assert renewal(Client(), known(old) | {"new": new}).status_code == 400
    channel.refresh_from_db()
    assert push_services.subscription_of(channel).endpoint == old.endpoint


@pytest.mark.parametrize(
    "body", ["", [], {}, {"endpoint": 1, "auth": 2}, {"endpoint": "x", "auth": "é"}, "x" * 9_000,
             {"endpoint": "x", "auth": "eA", "new": 1}, {"endpoint": "x", "auth": "eA", "new": {}}],
)  # fmt: skip
def test_anything_else_is_refused(body: Any) -> None:
    response = renewal(Client(), body)
    assert response.status_code in (200, 400)
    assert response.json().get("known") is not True


def test_form_of_another_site_renews_nothing(world: World) -> None:
    one = browser()
    subscribed(world, one)
    sent = Client().post(RENEW, json.dumps(known(one)), content_type="text/plain")
    assert sent.status_code == 422
    assert Client().get(RENEW)["Location"] == "/channels/"
