"""Channels: which URLs are accepted, what of them is shown, and how a message is sent.

E-mail goes through Django's mail backend (FILLCAST_EMAIL_URL), everything else through apprise.
Only SERVICES and WEBHOOKS are accepted: apprise also has local ones (syslog, desktop). A webhook
without TLS needs networks.outbound_networks.
"""

import hashlib
import ipaddress
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email

from common.errors import CONTENT_ERRORS, ConflictError, InvalidInputError
from common.names import in_one_line
from common.operational.current import settings_now
from common.reason_codes import Code
from common.sealing import CannotOpenError, is_sealed_with_key, open_sealed, public_key_of, seal
from common.web.ip_addresses import is_read_as_typed
from events.chat_text import plain
from events.messages.parts import ROOM
from events.models import Channel
from events.outbound import RefusedError, guarded, is_allowed

SECONDS = 15.0  # for one message, with all its requests
MOST_TARGETS = 5  # recipients of one URL: each is a request of the thread that sends
WEBHOOKS = {"json": False, "jsons": True}  # scheme → encrypted
SERVICES = frozenset(
    {"discord", "gchat", "gotifys", "mmosts", "msteams", "ntfys", "pover", "slack", "tgram"}
)
OF_ONES_OWN = frozenset({"gotifys", "mmosts", "ntfys"})  # services whose URL names the server
PUBLIC_NTFY = "ntfy.sh"
MOST_CHARACTERS = {
    "discord": 1_900, "gchat": 3_800, "mmosts": 3_800, "ntfys": 2_500, "pover": 1_000,
    "slack": 30_000, "tgram": 3_800,
}  # fmt: skip
"""Service → characters of title and text that it accepts, less a reserve for its own marks."""
EXPECTED = (
    "mailto:name@example.com, a webhook https://host/path, or an apprise URL of "
    + ", ".join(sorted({*SERVICES, *WEBHOOKS}))
)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send.

    events: for machines; each has its `id`, by which a receiver recognises a repetition.
    """

    title: str
    body: str
    is_alarm: bool
    events: Sequence[dict[str, Any]] = field(default_factory=list)

    @property
    def reference(self) -> str:
        """A digest of the event ids: the same events have the same one, so repetitions show."""
        ids = ",".join(str(event["id"]) for event in self.events)
        return hashlib.sha256(ids.encode()).hexdigest()[:16]


class SendError(Exception):
    """The message was not sent and is tried again. The text holds none of the URL's secrets.

    retry_after: seconds that the channel's server asks us to wait.
    """

    def __init__(self, text: str, *, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


def seal_url(url: str, channel: Channel) -> bytes:
    """Encrypt a URL for this row and owner, so that only a trading process can read it.

    Raises ConflictError INSTALLATION_FAULT without a key.
    """
    return seal(url.encode(), context=_context(channel), public_key=sealing_key())


def most_characters(channel: Channel) -> int:
    """Return how long title and text of a message to this channel may be together."""
    return MOST_CHARACTERS.get(channel.url_display, ROOM)


def is_url_sealed_with_current_key(channel: Channel) -> bool:
    """Whether the URL is encrypted for the current key, not for one that was replaced."""
    return is_sealed_with_key(channel.url_sealed, sealing_key())


def sealing_key() -> bytes:
    """Return the public key to seal with. Raises ConflictError INSTALLATION_FAULT without one."""
    if key := settings.FILLCAST_CREDENTIALS_PUBLIC_KEY:
        return bytes(key)
    if keys := settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS:
        return public_key_of(keys[0])
    raise ConflictError(
        Code.INSTALLATION_FAULT,
        "FILLCAST_CREDENTIALS_PUBLIC_KEY is not set, so no channel's URL can be stored.",
    )


def open_url(channel: Channel) -> str:
    """Return the decrypted URL. Raises RefusedError if no key opens it: a retry would not help."""
    try:
        opened = open_sealed(
            channel.url_sealed,
            context=_context(channel),
            private_keys=settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS,
        )
    except CannotOpenError as error:
        raise RefusedError(f"The channel's URL cannot be opened. {error}") from error
    return opened.decode()


def _context(channel: Channel) -> bytes:
    return f"events.channel {channel.key} {channel.user_id}".encode()


def check_url(url: str) -> str:
    """Validate a URL and return the part of it that may be shown. Resolves no names.

    Raises InvalidInputError.
    """
    if address := _mail_address(url):
        return f"mailto:{address.rpartition('@')[2]}"
    plugin = _plugin(url)
    scheme = _scheme(plugin)
    if scheme in {*OF_ONES_OWN, *WEBHOOKS}:
        _check_typed_host(url, plugin)
    if scheme not in WEBHOOKS:
        return scheme
    check_host(str(plugin.host), encrypted=WEBHOOKS[scheme])
    return f"{'https' if WEBHOOKS[scheme] else 'http'}://{plugin.host}"


def send(url: str, message: Outgoing) -> None:
    """Send a message within SECONDS. Not inside a transaction. Raises SendError, RefusedError."""
    if address := _mail_address(url):
        _send_mail(address, message)
    else:
        _send_by_apprise(_plugin(url), message)


def _send_mail(address: str, message: Outgoing) -> None:
    headers = {
        "Message-ID": f"<{message.reference}@fillcast>",
        "X-Fillcast-Events": message.reference,
        "Auto-Submitted": "auto-generated",
    }
    mail = EmailMessage(in_one_line(message.title), message.body, None, [address], headers=headers)
    try:
        mail.send()
    except OSError as error:  # smtplib's errors too
        raise SendError(f"The mail server did not accept it: {type(error).__name__}.") from error


def _send_by_apprise(plugin: Any, message: Outgoing) -> None:
    if _scheme(plugin) in WEBHOOKS:
        plugin.payload_extras = {
            "reference": message.reference,
            "events": list(message.events),
        }
    from apprise import NotifyType

    kind = NotifyType.WARNING if message.is_alarm else NotifyType.INFO
    with (
        _collect_warnings() as warnings,
        guarded(settings_now().networks.outbound_networks, seconds=SECONDS) as guard,
    ):
        try:
            title, body = _texts(_scheme(plugin), message)
            sent = plugin.notify(body=body, title=title, notify_type=kind)
        except RefusedError:
            raise
        except (OSError, *CONTENT_ERRORS) as error:
            raise SendError(f"{_scheme(plugin)}: {type(error).__name__}.") from error
        if not sent:
            text = _without_secrets(warnings[-1] if warnings else "It was not accepted.", plugin)
            raise SendError(text, retry_after=guard.retry_after)


def _texts(service: str, message: Outgoing) -> tuple[str, str]:
    """Return title and body as a service displays them unchanged (events/chat_text.py)."""
    body = message.body or message.title  # apprise sends nothing without one
    if service == "tgram":  # it counts characters after it has read them
        return plain(message.title, service), plain(body, service)
    most = MOST_CHARACTERS.get(service)
    # Slack's titles are escaped by apprise.
    title = message.title if service == "slack" else plain(message.title, service, most=most)
    return title, plain(body, service, most=None if most is None else most - len(title))


class _ApprisePluginLog(logging.Handler):
    """Collects apprise's warnings of this thread: other threads send other tenants' messages."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.messages.append(record.getMessage())


@contextmanager
def _collect_warnings() -> Iterator[list[str]]:
    """Collect apprise's warnings, since its result is only True or False."""
    import apprise

    handler, logger = _ApprisePluginLog(), apprise.logger
    logger.addHandler(handler)
    try:
        yield handler.messages
    finally:
        logger.removeHandler(handler)


def _plugin(url: str) -> Any:
    """Return apprise's plugin for a URL, with unsafe options off. Raises InvalidInputError."""
    import apprise  # slow to import, and most processes never need it
    from apprise import NotifyFormat

    asset = apprise.AppriseAsset(
        app_id="Fillcast",
        app_desc="Fillcast",
        app_url=settings.FILLCAST_PUBLIC_URL,
        http_redirects=False,
        async_mode=False,
        image_url_mask="",
        image_url_logo="",
    )
    url = url.strip()
    plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if plugin is None and url.startswith("https://"):
        plugin = apprise.Apprise.instantiate(
            _as_webhook(url), asset=asset, suppress_exceptions=True
        )
    if plugin is None or _scheme(plugin) not in {*SERVICES, *WEBHOOKS}:
        raise InvalidInputError(
            Code.FIELD_INVALID, f"This is not a channel's URL; expected {EXPECTED}.", field="url"
        )
    if _reads_files(plugin) or len(plugin) > MOST_TARGETS:
        raise InvalidInputError(
            Code.FIELD_INVALID,
            f"A channel has no template and at most {MOST_TARGETS} recipients: add another one.",
            field="url",
        )
    # A URL may request other values of these; it must not get them.
    plugin.redirects = False
    plugin.notify_format = NotifyFormat.HTML if _scheme(plugin) == "tgram" else NotifyFormat.TEXT
    plugin.request_rate_per_sec = 0.0  # the service refuses what is too fast, and no thread sleeps
    plugin.verify_certificate = True
    plugin.socket_connect_timeout = plugin.socket_read_timeout = 5.0
    return plugin


def _reads_files(plugin: Any) -> bool:
    """Whether the URL names a file, such as a template: it would be one of this machine."""
    from apprise import AppriseAttachment

    options = vars(plugin).values()
    return any(isinstance(option, AppriseAttachment) and len(option) for option in options)


def _as_webhook(url: str) -> str:
    """Return apprise's form of a webhook: it passes on only parameters that begin with a minus."""
    parts = urlsplit(url)
    query = urlencode([(f"-{name}", value) for name, value in parse_qsl(parts.query)])
    return parts._replace(scheme="jsons", query=query, fragment="").geturl()


def _scheme(plugin: Any) -> str:
    """Return the plugin's own name, whatever alias the URL used; `json` only if not encrypted."""
    names = plugin.secure_protocol if plugin.secure else plugin.protocol or plugin.secure_protocol
    return str(names if isinstance(names, str) else names[0])


def _check_typed_host(url: str, plugin: Any) -> None:
    """Refuse a host that apprise does not read as one: it would call the public server."""
    try:
        typed = (urlsplit(url.strip()).hostname or "").lower()
    except ValueError:
        typed = ""
    topics = [str(topic).lower() for topic in getattr(plugin, "topics", ())]
    is_public_server = getattr(plugin, "mode", "") == "cloud"
    is_ignored = is_public_server and typed not in (*topics, PUBLIC_NTFY)
    if is_ignored or not is_read_as_typed(typed):
        raise _host_unclear(typed)


def _host_unclear(host: str) -> InvalidInputError:
    return InvalidInputError(
        Code.HOST_NOT_ALLOWED,
        f"{host!r} is not read as the same server by every program: enter its name, or its address"
        " in full.",
        field="url",
    )


def check_host(host: str, *, encrypted: bool) -> None:
    """Refuse what can be refused without resolving names; the rest is checked when it is sent."""
    networks = settings_now().networks.outbound_networks
    if not is_read_as_typed(host):
        raise _host_unclear(host)
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        refused = not encrypted and not networks
    else:
        refused = not is_allowed(address, networks, encrypted=encrypted)
    if refused:
        raise InvalidInputError(
            Code.HOST_NOT_ALLOWED,
            "Only https to public hosts is allowed; operators may allow more "
            "(networks.outbound_networks).",
            field="url",
        )


def _mail_address(url: str) -> str:
    """Return the address of `mailto:a@example.com`; '' for other URLs. Raises InvalidInputError."""
    scheme, _, rest = url.strip().partition(":")
    if scheme.lower() not in ("mailto", "mailtos"):
        return ""
    try:
        validate_email(address := rest.removeprefix("//"))
    except ValidationError as error:
        raise InvalidInputError(
            Code.FIELD_INVALID, "Expected mailto:name@example.com, without a server.", field="url"
        ) from error
    return address


def _without_secrets(text: str, plugin: Any) -> str:
    """Replace every part of the URL that is long enough to be a token."""
    for part in _secret_parts(plugin):
        text = text.replace(part, "…")
    return text[:300]


def _secret_parts(plugin: Any) -> set[str]:
    split = urlsplit(plugin.url(privacy=False))
    pieces = {split.username or "", split.password or "", *split.path.split("/"), split.query}
    if _scheme(plugin) not in WEBHOOKS:
        pieces.add(split.hostname or "")
    return {piece for piece in pieces if len(piece) >= 6}
