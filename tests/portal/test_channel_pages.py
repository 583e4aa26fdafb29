"""Channels by clicks: a form for each service, the test's result, kinds, quiet hours, the log."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.test import Client

from common.db.sql import run
from common.sealing import new_private_key, public_key_of
from events import channels
from events.channel_rules import kinds_of
from events.models import Channel, Delivery, WebhookAttempt, WebhookMessage
from events.webhook_services import create_webhook
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.test_sign_up import as_owner

pytestmark = pytest.mark.django_db
TOKEN = "123456789:" + "A" * 35
FILLED_IN = {
    "email": ({"mail_address": "a@example.com"}, "mailto:a@example.com"),
    "telegram": ({"bot_token": TOKEN, "chat_id": "-1001234567"}, f"tgram://{TOKEN}/-1001234567/"),
    "discord": ({"webhook_url": f"https://discord.com/api/webhooks/123456789012345678/{'a' * 60}"},
                f"https://discord.com/api/webhooks/123456789012345678/{'a' * 60}"),
    "slack": ({"webhook_url": "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOX"
               "rIdevi7FQ"},
              "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"),
    "webhook": ({"url": "https://example.com/hook"}, "https://example.com/hook"),
    "advanced": ({"url": "ntfys://example.com/topic"}, "ntfys://example.com/topic"),
}  # fmt: skip
WRONG = [
    ("email", {"mail_address": "nobody"}, "mail_address"),
    ("telegram", {"bot_token": "x", "chat_id": "1234"}, "bot_token"),
    ("telegram", {"bot_token": TOKEN, "chat_id": "my chat"}, "chat_id"),
    ("discord", {"webhook_url": "https://example.com/api/webhooks/1/x"}, "webhook_url"),
    ("slack", {"webhook_url": "https://hooks.slack.com.example.com/services/T1/A1/x"},
     "webhook_url"),
    ("webhook", {"url": "https://10.0.0.1/"}, "url"),
    ("advanced", {"url": "syslog://"}, "url"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def keys(world: World, settings: Any) -> None:
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    Channel.objects.all().delete()


@pytest.fixture
def client(world: World, signed_in: SignedIn) -> Client:
    return signed_in(world.alice)


def hook(world: World) -> Channel:
    return create_webhook(user_id=world.alice.pk, name="bot", url="https://example.com/hook")[0]


@pytest.mark.parametrize("service", FILLED_IN)
def test_channel_of_each_service_is_set_up_by_its_form(client: Client, service: str) -> None:
    fields, url = FILLED_IN[service]
    path = f"/channels/create/{service}/"
    assert f'href="{path}"' in html_of(client.get("/channels/create/"))
    assert html_of(client.get(path)).count("<h1") == 1
    response = client.post(path, {"name": "mine", **fields})
    channel = Channel.objects.get()
    assert channels.open_url(channel) == url
    assert channel.is_signed == (service == "webhook")
    if service == "webhook":
        assert "whsec_" in html_of(response)
        assert response["Cache-Control"] == "private, no-store"
    else:
        assert response["Location"] == f"/channels/{channel.pk}/"
    shown = html_of(client.get(f"/channels/{channel.pk}/"))
    assert "whsec_" not in shown
    assert TOKEN not in shown


@pytest.mark.parametrize(("service", "fields", "field"), WRONG)
def test_wrong_field_is_named(
    client: Client, service: str, fields: dict[str, str], field: str
) -> None:
    response = client.post(f"/channels/create/{service}/", {"name": "mine", **fields})
    assert response.status_code == 422
    assert f'id="id_{field}_error"' in html_of(response)
    assert not Channel.objects.exists()


def test_unknown_service_is_missing(client: Client) -> None:
    assert client.get("/channels/create/pigeon/").status_code == 404


def test_result_of_the_test_is_beside_the_form(client: Client, world: World) -> None:
    channel = hook(world)
    path = f"/channels/{channel.pk}/"
    assert "No test message was sent yet" in html_of(client.get(path))
    assert client.post(f"{path}test/")["Location"] == path
    assert "takes a few seconds" in html_of(client.get(path))
    channel.refresh_from_db()
    assert channel.test_event_id is not None
    sending = Delivery.objects.create(event_id=channel.test_event_id, channel=channel)
    assert "takes a few seconds" in html_of(client.get(path))
    Delivery.objects.update(last_error="The server answered 500.")
    assert "The server answered 500. Next try at" in html_of(client.get(path))
    Delivery.objects.update(status="FAILED")
    assert "It is not tried again" in html_of(client.get(path))
    Delivery.objects.filter(pk=sending.pk).update(status="SENT", sent_at=datetime.now(UTC))
    assert "The test message was accepted at" in html_of(client.get(path))


def test_kinds_are_chosen_in_one_table(client: Client, world: World) -> None:
    first, second = hook(world), hook(world)
    page = html_of(client.get("/channels/kinds/"))
    assert page.count(" checked>") == page.count('type="checkbox"') - 8  # four kinds on request
    assert "audit.failed" not in page  # of the installation
    pairs = [f"{first.pk}:order.filled", f"{first.pk}:order.placed"]
    pairs += [f"{second.pk}:position.opened", "999:order.filled", "x"]
    assert client.post("/channels/kinds/", {"kind": pairs}).status_code == 302
    for channel, kinds in (
        (first, {"order.filled", "order.placed"}),
        (second, {"position.opened"}),
    ):
        channel.refresh_from_db()
        shown = {kind for kind in kinds_of(channel) if kind.startswith(("order", "position"))}
        assert shown == kinds


def test_channel_without_a_kind_is_refused(client: Client, world: World) -> None:
    channel = hook(world)
    Channel.objects.update(kinds=["order.filled"])
    response = client.post("/channels/kinds/", {"kind": []})
    assert response.status_code == 422
    assert "switch it off" in html_of(response)
    channel.refresh_from_db()
    assert channel.kinds == ["order.filled"]


def test_quiet_hours_and_digest_are_set_and_what_waits_is_shown(
    client: Client, world: World
) -> None:
    channel = hook(world)
    rules = {"is_active": "on", "quiet_from": "22:00", "quiet_until": "07:00", "digest": "DAILY"}
    wrong = client.post(f"/channels/{channel.pk}/rules/", rules)
    assert wrong.status_code == 422
    assert 'id="id_digest_at_error"' in html_of(wrong)
    right = client.post(f"/channels/{channel.pk}/rules/", rules | {"digest_at": "18:30"})
    assert right.status_code == 302
    channel.refresh_from_db()
    assert (channel.quiet_from, channel.digest_at) == (time(22), time(18, 30))
    until = datetime(2026, 3, 1, 18, 30, tzinfo=UTC)
    Delivery.objects.create(event_id=1, channel=channel, hold_until=until)
    for path in ("/channels/", f"/channels/{channel.pk}/"):
        assert "18:30" in html_of(client.get(path))


def test_log_of_a_webhook_is_shown_without_markup_of_the_answer(
    client: Client, world: World
) -> None:
    channel = hook(world)
    message = WebhookMessage.objects.create(
        channel=channel, uid="msg_1", events=1, title="Filled", status="FAILED"
    )
    WebhookAttempt.objects.create(
        channel=channel, message=message, status_code=500, duration_ms=12,
        answer="<script>alert(1)</script>", error="The server answered 500.",
    )  # fmt: skip
    page = html_of(client.get(f"/channels/{channel.pk}/"))
    assert "The server answered 500." in page
    assert "<script>alert" not in page
    Delivery.objects.create(event_id=1, channel=channel, message_id=message.pk, status="FAILED")
    assert client.post(f"/channels/messages/{message.pk}/resend/").status_code == 302
    message.refresh_from_db()
    assert message.status == "PENDING"


def test_secret_is_replaced_after_a_question(client: Client, world: World) -> None:
    channel = hook(world)
    path = f"/channels/{channel.pk}/secret/"
    assert "24 hours" in html_of(client.get(path))
    assert "whsec_" in html_of(client.post(path))
    channel.refresh_from_db()
    assert channel.previous_secret_until is not None


def test_another_tenants_channel_is_missing(world: World, signed_in: SignedIn) -> None:
    channel = hook(world)
    message = WebhookMessage.objects.create(channel=channel, uid="msg_1", events=1)
    bob = signed_in(world.bob)
    for path in ("", "rules/", "secret/", "test/"):
        assert bob.post(f"/channels/{channel.pk}/{path}").status_code == 404
    assert bob.post(f"/channels/messages/{message.pk}/resend/").status_code == 404


def test_pages_take_few_queries(
    client: Client, world: World, django_assert_max_num_queries: Any
) -> None:
    channel = hook(world)
    for number in range(30):
        message = WebhookMessage.objects.create(channel=channel, uid=f"msg_{number}", events=1)
        WebhookAttempt.objects.create(channel=channel, message=message, duration_ms=1)
    for path in ("/channels/", "/channels/kinds/", f"/channels/{channel.pk}/"):
        with django_assert_max_num_queries(20):  # with the shell's, the session's and the user's
            client.get(path)


def test_api_does_the_same(client: Client) -> None:
    body = {"name": "bot", "url": "https://example.com/hook", "kinds": ["order.filled"]}
    made = client.post("/api/v1/channels/webhooks/", body, content_type="application/json")
    assert made.status_code == 201, made.content
    assert made.json()["secret"].startswith("whsec_")
    path = f"/api/v1/channels/{made.json()['channel']['id']}/"
    rules = {"quiet_from": "22:00", "quiet_until": "07:00", "digest": "HOURLY"}
    changed = client.patch(path, rules, content_type="application/json")
    assert changed.status_code == 200, changed.content
    assert changed.json() | {"quiet_from": "22:00:00", "digest": "HOURLY"} == changed.json()
    wrong = client.patch(path, {"quiet_from": None}, content_type="application/json")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "FIELD_REQUIRED")
    assert "whsec_" in client.post(f"{path}rotate-secret/").json()["secret"]
    channel = Channel.objects.get()
    until = datetime.now(UTC) + timedelta(hours=1)
    Delivery.objects.create(event_id=1, channel=channel, hold_until=until)
    (listed,) = client.get("/api/v1/channels/").json()["results"]
    assert listed["waiting"]["count"] == 1
    message = WebhookMessage.objects.create(channel=channel, uid="msg_1", events=1)
    (logged,) = client.get(f"{path}messages/").json()["results"]
    assert (logged["uid"], logged["attempts"]) == ("msg_1", [])
    assert client.post(f"{path}messages/{message.pk}/resend/").status_code == 202
    assert client.post(f"{path}messages/999/resend/").status_code == 404


def test_channel_is_removed_with_its_delivery_log(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    with as_owner():
        channel, _ = create_webhook(user_id=world.alice.pk, name="bot", url="https://8.8.8.8/in")
        message = WebhookMessage.objects.create(channel=channel, uid="msg_1", events=1)
        WebhookAttempt.objects.create(
            channel=channel, message=message, status_code=500, duration_ms=3
        )
    signed_in(world.alice).post(f"/channels/{channel.pk}/remove/")
    with as_owner():
        run("SET CONSTRAINTS ALL IMMEDIATE")  # as at the end of a request
        assert not Channel.objects.filter(pk=channel.pk).exists()
        assert not WebhookAttempt.objects.exists()
