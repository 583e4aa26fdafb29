"""Which URLs are taken, what is shown of them, and that they are sealed."""

from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.core import mail
from pytest_django import Settings

from common.errors import ConflictError, InvalidInputError
from events import channels, services
from events.channels import Outgoing, SendError
from events.models import Channel
from events.outbound import RefusedError
from tests.events.receiver import Receiver
from tests.operational import set_setting
from users.models import User

TOKEN = "canary7f3aQ0XabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
MESSAGE = Outgoing("Title", "Body", is_alarm=False, events=[{"id": 5}])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://discord.com/api/webhooks/123456789012345678/{TOKEN}", "discord"),
        (f"discord://123456789012345678/{TOKEN}", "discord"),
        (f"https://hooks.example.com/a/{TOKEN}?x=1", "https://hooks.example.com"),
        (f"jsons://user:{TOKEN}@hooks.example.com/a", "https://hooks.example.com"),
        ("mailto:alice@example.com", "mailto:example.com"),
        ("mailto://alice@example.com", "mailto:example.com"),
    ],
)
def test_channel_url_is_shown_without_secrets(url: str, shown: str) -> None:
    assert channels.check_url(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "ftp://example.com/", "syslog://", "dbus://", "file:///etc/passwd",
        "mailto:not an address", "mailtos://user:password@smtp.example.com", "mailto:",
        "http://example.com/hook", "xml://example.com", "ntfy://topic",
    ],
)  # fmt: skip
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        channels.check_url(url)
    assert (caught.value.code, caught.value.field) == ("FIELD_INVALID", "url")


@pytest.mark.parametrize(
    "url",
    ["jsons://10.0.0.1/x", "https://169.254.169.254/latest", "jsons://[::1]/x", "json://8.8.8.8/x"],
)
def test_private_and_unencrypted_addresses_are_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        channels.check_url(url)
    assert caught.value.code == "HOST_NOT_ALLOWED"


@pytest.mark.parametrize(
    "host",
    ["127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "\uff11\uff12\uff17.0.0.1",
     "10.1", "\uff4eas.example.com", "127\u30020\u30020\u30021"],
)  # fmt: skip
def test_host_that_is_not_read_as_typed_is_refused(host: str) -> None:
    """ntfy's own public server would get the messages, or our network."""
    for url in (f"ntfys://{host}/x", f"ntfys://u:p@{host}:443/x", f"ntfys://{host}?to=x",
                f"gotifys://{host}/AbCdEfGhIjKlMnO", f"mmosts://{host}/{'a' * 26}",
                f"https://{host}/x", f"jsons://{host}/x"):  # fmt: skip
        with pytest.raises(InvalidInputError):
            channels.check_url(url)
    with pytest.raises(InvalidInputError):
        channels.check_host(host, encrypted=True)


@pytest.mark.parametrize(
    "url",
    ["ntfys://alarms", "ntfys://ntfy.sh/alarms", "ntfys://ntfy.example.com/alarms",
     "https://example.com/x", "https://1password.com/x", "https://9.9.9.9/x"],
)  # fmt: skip
def test_host_that_is_read_as_typed_is_taken(url: str) -> None:
    assert channels.check_url(url)


def test_unencrypted_webhooks_need_operator_permission(settings: Settings) -> None:
    assert channels.check_url("json://127.0.0.1/x") == "http://127.0.0.1"
    set_setting("networks.outbound_networks", ())
    for url in ("json://127.0.0.1/x", "json://localhost/x"):
        with pytest.raises(InvalidInputError):
            channels.check_url(url)


def test_unsafe_url_options_are_refused() -> None:
    plugin = channels._plugin("jsons://example.com/x?verify=no&redirect=yes&cto=900&rto=900")
    assert plugin.verify_certificate is True
    assert plugin.redirects is False
    assert plugin.request_timeout == (5.0, 5.0)


def test_query_parameters_of_a_webhook_are_kept() -> None:
    assert channels._plugin("https://example.com/h?key=v&b=2").params == {"key": "v", "b": "2"}


@pytest.mark.django_db
def test_channel_url_is_sealed_for_its_row_and_owner(alice: User, bob: User) -> None:
    url = f"https://hooks.example.com/{TOKEN}"
    channel = services.create_channel(
        user_id=alice.pk, name=" Ops ", url=url, kinds=["order.failed"]
    )
    stored = Channel.objects.get(pk=channel.pk)
    assert TOKEN.encode() not in bytes(stored.url_sealed)
    assert TOKEN not in f"{stored.name}{stored.url_display}"
    assert (stored.name, stored.kinds, channels.open_url(stored)) == ("Ops", ["order.failed"], url)

    stored.user = bob
    with pytest.raises(RefusedError):
        channels.open_url(stored)
    other = services.create_channel(user_id=alice.pk, name="b", url=url)
    other.url_sealed = channel.url_sealed
    with pytest.raises(RefusedError) as caught:
        channels.open_url(other)
    assert TOKEN not in str(caught.value)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "kinds", "field"), [(" ", [], "name"), ("a", ["no.such.kind"], "kinds")]
)
def test_invalid_fields_are_named(alice: User, name: str, kinds: list[str], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        services.create_channel(
            user_id=alice.pk, name=name, url="mailto:a@example.com", kinds=kinds
        )
    assert caught.value.field == field
    assert Channel.objects.count() == 0


@pytest.mark.django_db
def test_channel_is_not_stored_without_key(alice: User, settings: Settings) -> None:
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = ()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = None
    with pytest.raises(ConflictError):
        services.create_channel(user_id=alice.pk, name="a", url="mailto:a@example.com")
    assert Channel.objects.count() == 0


def test_mail_goes_through_djangos_backend_with_a_reference() -> None:
    channels.send("mailto:alice@example.com", MESSAGE)
    (sent,) = mail.outbox
    assert (sent.to, sent.subject, sent.body) == (["alice@example.com"], "Title", "Body")
    assert sent.extra_headers["X-Fillcast-Events"] == MESSAGE.reference


@pytest.mark.parametrize("of", ["discord", "slack"])
@pytest.mark.parametrize("address", ["{path}", "file://{path}", "https://example.com/t.json"])
def test_channel_sends_no_file_of_this_machine(tmp_path: Path, of: str, address: str) -> None:
    """apprise reads a template that the URL names, and posts it to the chat."""
    file = tmp_path / "settings.json"
    file.write_text('{"content": "a secret of the machine"}')
    chat = {
        "discord": f"discord://123456789012345678/{TOKEN}/",
        "slack": "slack://TJDGYGN3G/B1234AAB1/aaaaaaaaaaaaaaaaaaaaaaaa/",
    }[of]
    channels.check_url(chat)
    with pytest.raises(InvalidInputError, match="no template"):
        channels.check_url(f"{chat}?template={quote(address.format(path=file), safe='')}")


def test_channel_has_few_recipients_and_waits_for_none() -> None:
    """apprise sleeps between two of them, on the thread that sends everybody's messages."""
    topics = "/".join(f"t{number}" for number in range(100))
    with pytest.raises(InvalidInputError, match="recipients"):
        channels.check_url(f"ntfys://ntfy.example.com/{topics}")
    plugin = channels._plugin("ntfys://ntfy.example.com/a/b/c")
    assert plugin.request_rate_per_sec == 0.0


EVIL = (
    "Gold <b & <!channel> <https://evil.example|Log in> @everyone <@42> <users/all>"
    ' <a href="https://evil.example">x</a> [Log in](https://evil.example)'
    r" \[Log in](https://evil.example)"
)
ESCAPED = escape(EVIL, quote=False)
NO_MARKDOWN = EVIL.replace("\\", r"\\").replace("@", "@\u200b").replace("[", r"\[")
BOT = "123456789:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.mark.parametrize("option", ["", "?format=markdown", "?format=html"])
@pytest.mark.parametrize(
    ("url", "attribute", "text_of", "expected"),
    [
        (f"discord://123456789012345678/{TOKEN}/", "notify_url", lambda got: got["content"],
         f"{NO_MARKDOWN}\r\n{NO_MARKDOWN}"),
        ("slack://TJDGYGN3G/B1234AAB1/aaaaaaaaaaaaaaaaaaaaaaaa/", "webhook_url",
         lambda got: "\r\n".join((got["attachments"][0]["title"], got["attachments"][0]["text"])),
         f"{ESCAPED}\r\n{ESCAPED}"),
        (f"tgram://{BOT}/12345/", "notify_url", lambda got: got["text"],
         f"<b>{ESCAPED}</b>\r\n{ESCAPED}"),
    ],
)  # fmt: skip
def test_words_of_other_users_are_text_in_a_chat(
    hook: Receiver, url: str, option: str, attribute: str, text_of: Any, expected: str
) -> None:
    """A feed's name or the reason of a halt must neither call everybody, nor hide an address, nor
    make Telegram refuse an alarm."""
    plugin = channels._plugin(url + option)
    setattr(plugin, attribute, hook.url().replace("json:", "http:"))
    with suppress(SendError):  # the receiver does not answer as the service does
        channels._send_by_apprise(plugin, Outgoing(EVIL, EVIL, is_alarm=True))
    assert [text_of(got) for got in hook.journal if "getMe" not in got][-1] == expected


def test_text_that_grows_is_cut_to_what_the_chat_takes() -> None:
    title, body = channels._texts("discord", Outgoing("@" * 100, "@" * 1_800, is_alarm=True))
    assert len(title) + len(body) == channels.MOST_CHARACTERS["discord"]
    title, body = channels._texts("slack", Outgoing("t", "&" * 10_000, is_alarm=True))
    assert body.replace("&amp;", "") == "", "no half entity"
