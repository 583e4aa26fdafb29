"""Signed webhooks: checked by the standard's own library against a real web server."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
from django.db.models import F
from pytest_django import Settings
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from common.errors import ConflictError, InvalidInputError
from common.sealing import new_private_key, public_key_of
from connections.credentials.key_rotation import reseal_all
from events import services, webhook_services, webhooks
from events.models import Channel, Delivery, EventKind, WebhookAttempt, WebhookMessage
from events.services import Delivered, NewEvent
from tests.archive.rows import archive
from tests.events.test_delivery import fill, happen, rested
from tests.events.webhook_endpoint import Endpoint, serving
from tests.operational import set_setting
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)
SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/webhook-v1.json").read_text())


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as running:
        yield running


def webhook(user: User, endpoint: Endpoint) -> tuple[Channel, str]:
    return webhook_services.create_webhook(user_id=user.pk, name="bot", url=endpoint.url)


def test_message_is_verified_by_the_standards_library(alice: User, endpoint: Endpoint) -> None:
    channel, secret = webhook(alice, endpoint)
    (event_id,) = happen(fill(alice))
    assert services.deliver() == Delivered(events=1, messages=1, failures=0)
    payload = endpoint.verified(secret)
    jsonschema.validate(payload, SCHEMA)
    assert payload["type"] == "fillcast.events"
    assert [event["id"] for event in payload["data"]["events"]] == [event_id]
    with pytest.raises(WebhookVerificationError):
        endpoint.verified(webhooks.new_secret())
    headers, body = endpoint.received[0]
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.replace(b"order.filled", b"order.denied"), headers)
    assert secret.encode() not in body + bytes(channel.url_sealed)


def test_secret_and_query_are_sealed(alice: User, endpoint: Endpoint) -> None:
    channel, secret = webhook(alice, endpoint)
    stored = Channel.objects.get(pk=channel.pk)
    assert stored.secret_sealed is not None
    assert secret.encode() not in bytes(stored.secret_sealed)
    assert "canary" not in stored.url_display + str(bytes(stored.url_sealed))


def test_repetition_has_the_same_id_and_events(alice: User, endpoint: Endpoint) -> None:
    """Events that come meanwhile must not change a message that the receiver may have seen."""
    endpoint.answers = [(500, b"boom\x00\r\n"), (302, b"")]
    endpoint.location = endpoint.url
    _, secret = webhook(alice, endpoint)
    first = happen(fill(alice), fill(alice))
    assert services.deliver() == Delivered(2, 0, 1)
    late = happen(fill(alice))
    for _ in range(3):
        rested()
        services.deliver()
    payloads = [endpoint.verified(secret, which) for which in range(4)]
    ids = [headers["webhook-id"] for headers, _ in endpoint.received]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    reported = [[event["id"] for event in one["data"]["events"]] for one in payloads]
    assert reported == [first, first, first, late]
    assert payloads[0] == payloads[1] == payloads[2]
    log = WebhookAttempt.objects.filter(message__uid=ids[0]).order_by("id")
    assert list(log.values_list("status_code", "answer", "error")) == [
        (500, "boom", "The server answered 500."),
        (302, "", "The server answered 302."),  # a redirect is not followed
        (200, "", ""),
    ]
    assert [one.next_attempt_at is not None for one in log] == [True, True, False]
    assert log[0].next_attempt_at is not None
    assert log[0].next_attempt_at > log[0].at
    assert all(one.duration_ms >= 0 for one in log)
    assert set(WebhookMessage.objects.values_list("status", flat=True)) == {"SENT"}


def test_lost_answer_is_logged_and_tried_again(alice: User, endpoint: Endpoint) -> None:
    channel, _ = webhook(alice, endpoint)
    with serving() as gone:
        dead = gone.port
    Channel.objects.update(url_sealed=_sealed(channel, f"http://127.0.0.1:{dead}/"))
    happen(fill(alice))
    assert services.deliver() == Delivered(1, 0, 1)
    attempt = WebhookAttempt.objects.get()
    assert (attempt.status_code, attempt.error[:27]) == (None, "The server gave no answer: ")
    assert "canary" not in attempt.error
    assert Delivery.objects.get().status == "PENDING"


def test_fault_of_ours_is_logged_and_tried_again(
    alice: User, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook(alice, endpoint)
    happen(fill(alice))
    with monkeypatch.context() as patched:
        patched.setattr(webhooks, "post", None)
        assert services.deliver() == Delivered(1, 0, 1)
    attempt = WebhookAttempt.objects.get()
    assert (attempt.status_code, attempt.error) == (None, "Unexpected: TypeError.")
    assert attempt.next_attempt_at is not None
    rested()
    assert services.deliver() == Delivered(0, 1, 0)


def _sealed(channel: Channel, url: str) -> bytes:
    from events import channels

    return channels.seal_url(url, channel)


def test_both_secrets_sign_while_one_is_replaced(alice: User, endpoint: Endpoint) -> None:
    channel, old = webhook(alice, endpoint)
    new = webhook_services.rotate_secret(channel.pk)
    happen(fill(alice))
    services.deliver()
    assert endpoint.verified(old) == endpoint.verified(new)
    Channel.objects.update(previous_secret_until=F("previous_secret_until") - timedelta(hours=25))
    rested()
    happen(fill(alice))
    services.deliver()
    endpoint.verified(new)
    with pytest.raises(WebhookVerificationError):
        endpoint.verified(old)


def test_secrets_survive_new_keys_of_the_installation(
    alice: User, endpoint: Endpoint, settings: Settings
) -> None:
    channel, old = webhook(alice, endpoint)
    new = webhook_services.rotate_secret(channel.pk)
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (
        private, *settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS,
    )  # fmt: skip
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    for _ in reseal_all():
        pass
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    happen(fill(alice))
    services.deliver()
    assert endpoint.verified(old) == endpoint.verified(new)


def test_given_up_message_can_be_sent_again(alice: User, endpoint: Endpoint) -> None:
    endpoint.answers = [(503, b"")] * 10
    _, secret = webhook(alice, endpoint)
    happen(fill(alice))
    for _ in range(10):
        services.deliver()
        rested()
    message = WebhookMessage.objects.get()
    assert message.status == "FAILED"
    assert services.deliver() == Delivered(0, 0, 0)
    webhook_services.resend(message.pk)
    assert services.deliver() == Delivered(0, 1, 0)
    message.refresh_from_db()
    assert message.status == "SENT"
    assert endpoint.received[-1][0]["webhook-id"] == message.uid
    endpoint.verified(secret)


def test_of_two_messages_that_wait_the_earlier_one_is_sent_first(
    alice: User, endpoint: Endpoint
) -> None:
    endpoint.answers = [(200, b""), (503, b"")]
    webhook(alice, endpoint)
    for _ in range(2):
        happen(fill(alice))
        rested()
        services.deliver()
    first, second = WebhookMessage.objects.order_by("id")
    webhook_services.resend(first.pk)
    for _ in range(2):
        services.deliver()
        rested()
    sent = [headers["webhook-id"] for headers, _ in endpoint.received]
    assert sent == [first.uid, second.uid, first.uid, second.uid]


def test_endpoint_that_has_gone_is_switched_off(alice: User, endpoint: Endpoint) -> None:
    endpoint.answers = [(410, b"")]
    channel, _ = webhook(alice, endpoint)
    happen(fill(alice))
    services.deliver()
    channel.refresh_from_db()
    assert not channel.is_active
    message = WebhookMessage.objects.get()
    assert message.status == "FAILED"
    with pytest.raises(ConflictError):
        webhook_services.resend(message.pk)


def test_test_message_is_signed(alice: User, endpoint: Endpoint) -> None:
    channel, secret = webhook(alice, endpoint)
    services.send_test(channel_id=channel.pk)
    services.deliver()
    (event,) = endpoint.verified(secret)["data"]["events"]
    assert event["kind"] == EventKind.CHANNEL_TEST


def test_burst_is_sent_in_messages_of_a_hundred(alice: User, endpoint: Endpoint) -> None:
    _, secret = webhook(alice, endpoint)
    ids = happen(*[NewEvent(EventKind.ORDER_FILLED, alice.pk) for _ in range(250)])
    for _ in range(4):
        services.deliver()
        rested()
    reported = [endpoint.verified(secret, which)["data"]["events"] for which in range(3)]
    assert [len(events) for events in reported] == [100, 100, 50]
    assert [event["id"] for events in reported for event in events] == ids


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "FIELD_INVALID"),
        ("ftp://example.com/", "FIELD_INVALID"),
        ("https://user:word@example.com/", "FIELD_INVALID"),
        ("https://example.com/a b", "FIELD_INVALID"),
        ("https://exa\nmple.com/", "FIELD_INVALID"),
        ("https://[::1/", "FIELD_INVALID"),
        ("https://discord.com/api/webhooks/1/x", "FIELD_INVALID"),
        ("https://10.0.0.1/", "HOST_NOT_ALLOWED"),
        ("https://[::ffff:169.254.169.254]/", "HOST_NOT_ALLOWED"),
        ("http://8.8.8.8/", "HOST_NOT_ALLOWED"),
    ],
)
def test_other_addresses_are_refused(alice: User, url: str, code: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        webhook_services.create_webhook(user_id=alice.pk, name="x", url=url)
    assert (caught.value.code, caught.value.field) == (code, "url")


def test_name_that_leads_to_a_forbidden_address_is_not_called(
    alice: User, endpoint: Endpoint, settings: Settings
) -> None:
    webhook(alice, endpoint)
    set_setting("networks.outbound_networks", ())
    happen(fill(alice))
    assert services.deliver().failures == 1
    assert endpoint.received == []
    attempt = WebhookAttempt.objects.get()
    assert "127.0.0.1" in attempt.error
    assert WebhookMessage.objects.get().status == "FAILED"


def test_archived_message_cannot_be_sent_again(
    alice: User, endpoint: Endpoint, tmp_path: Path
) -> None:
    webhook(alice, endpoint)
    happen(fill(alice))
    services.deliver()
    message = WebhookMessage.objects.get()
    WebhookMessage.objects.update(created_at=F("created_at") - timedelta(days=31))
    WebhookAttempt.objects.update(at=F("at") - timedelta(days=31))
    for kind in ("webhook-attempts", "webhook-messages"):
        assert archive(kind, tmp_path) == 1
    with pytest.raises(WebhookMessage.DoesNotExist):
        webhook_services.resend(message.pk)
    assert Delivery.objects.filter(status="SENT").count() == 1
    rested()
    assert services.deliver().messages == 0
    assert len(endpoint.received) == 1
