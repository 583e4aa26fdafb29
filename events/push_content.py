"""What a push message says, how urgent it is, and how long it is worth delivering. Pure.

Push services read TTL, Urgency and Topic (RFC 8030 §5); the text itself is encrypted.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from events.context import EventContext
from events.messages import Message
from events.messages.merging import merged
from events.models import ALARMS, ON_REQUEST, URGENT, EventKind
from events.push_keys import encoded

MAX_BYTES = 3_000  # of the payload; encrypted and in base64 it is still below 4,096 + 86
TITLE_MAX = 120
MINUTE, HOUR = 60, 3_600
DAY = 24 * HOUR
REPLACED = {
    EventKind.CONNECTION_ERROR: "connection", EventKind.CONNECTION_INACTIVE: "connection",
    EventKind.CONNECTION_RECOVERED: "connection", EventKind.HOST_DOWN: "host",
    EventKind.HOST_UP: "host", EventKind.SCHEDULER_LATE: "scheduler",
    EventKind.SCHEDULER_BACK: "scheduler", EventKind.POSITION_STOP_MOVED: "stop",
    EventKind.CHANNEL_TEST: "test", EventKind.BUS_LATE: "bus", EventKind.BUS_BACK: "bus",
    EventKind.BUS_NOT_RECEIVED: "incoming bus", EventKind.BUS_RECEIVED: "incoming bus",
}  # fmt: skip
"""The kinds of which only the last message about a subject matters. Money is never among them."""
INBOX, CONSOLE = "/inbox/", "/admin/"


@dataclass(frozen=True, slots=True)
class PushContent:
    """One push message before its encryption.

    page: the path that a click opens. tag: a newer notification with the same one replaces it.
    ttl: seconds. topic: a newer message with the same one replaces it at the push service.
    """

    title: str
    body: str
    page: str
    tag: str
    ttl: int
    urgency: str
    topic: str = ""

    @property
    def is_urgent(self) -> bool:
        """Whether it stays on the screen until it is seen."""
        return self.urgency == "high"

    def payload(self) -> bytes:
        """Return it as JSON of at most MAX_BYTES; the text is cut at a line or word."""
        room = MAX_BYTES
        content = replace(self, title=_cut(self.title, TITLE_MAX), body=_cut(self.body, room))
        raw = content._json()
        while len(raw) > MAX_BYTES:
            room = min(room - 1, room * MAX_BYTES // len(raw))
            content = replace(content, body=_cut(content.body, room))
            raw = content._json()
        return raw

    def shortest(self) -> "PushContent":
        """Return it without its text, for a push service that finds it too large."""
        return replace(self, title=_cut(self.title, 80), body="")

    def _json(self) -> bytes:
        return orjson.dumps(
            {
                "title": self.title, "body": self.body, "page": self.page, "tag": self.tag,
                "urgent": self.is_urgent,
            }
        )  # fmt: skip


def content_of(
    events: Sequence[EventContext], message: Message, *, uid: str, is_operator: bool
) -> PushContent:
    """Return the push message about events. uid: of the message, the same in every repetition.

    A fill and its position are one event, so that a click opens its page. The most urgent and the
    longest-lived event decide. Only a message about one event may replace an older one, since the
    other events of a message are in no later one.
    """
    kinds = {event.kind for event in events}
    topic = _topic(events[0]) if len(events) == 1 else ""
    return PushContent(
        title=message.title, body=message.body,
        page=page_of(merged(events), is_operator=is_operator),
        tag=topic or uid, ttl=max(_ttl(kind) for kind in kinds), urgency=_urgency(kinds),
        topic=topic,
    )  # fmt: skip


def page_of(events: Sequence[EventContext], *, is_operator: bool) -> str:
    """Return the path of the page that all these events are about, else of the inbox."""
    pages = {_page(event, is_operator=is_operator) for event in events}
    home = CONSOLE if is_operator else INBOX
    return pages.pop() if len(pages) == 1 else home


def _page(event: EventContext, *, is_operator: bool) -> str:
    own = event.get("page")
    if own.startswith("/") and not own.startswith("//"):
        return own
    if event.kind == EventKind.CHANNEL_TEST:
        return "/channels/"
    signal, order, connection = event.signal_id, event.order_id, event.connection_id
    position = event.payload.get("position")
    if isinstance(position, int):
        return f"/admin/positions/executionposition/{position}/" if is_operator else (
            f"/positions/{position}/"
        )  # fmt: skip
    if is_operator and order is not None:
        return f"/admin/execution/order/{order}/"
    if signal is not None:
        return f"/admin/signals/signal/{signal}/" if is_operator else f"/signals/{signal}/"
    if connection is not None:
        return (
            f"/admin/connections/executionconnection/{connection}/" if is_operator
            else f"/accounts/{connection}/"
        )  # fmt: skip
    return CONSOLE if is_operator else INBOX


def _urgency(kinds: set[str]) -> str:
    """Return RFC 8030's urgency: high wakes a phone that saves its battery."""
    if kinds & (URGENT | {EventKind.CHANNEL_TEST}):
        return "high"
    return "low" if kinds <= ON_REQUEST else "normal"


def _ttl(kind: str) -> int:
    """Return how long the push service keeps a message for a phone that is off, in seconds.

    The inbox has it all the same. Risk: until it is read. A signal is old after an hour.
    """
    if kind == EventKind.CHANNEL_TEST:
        return 5 * MINUTE
    if kind in (EventKind.SIGNAL_PUBLISHED, *ON_REQUEST):
        return HOUR
    return 3 * DAY if kind in URGENT else DAY if kind in ALARMS else 12 * HOUR


def _topic(event: EventContext) -> str:
    """Return what a later message about the same subject replaces, as a digest; '' if nothing."""
    group = REPLACED.get(EventKind(event.kind)) if event.kind in EventKind.values else None
    if group is None:
        return ""
    subject = (event.connection_id, event.payload.get("host"), event.payload.get("position"))
    text = ":".join(map(str, (group, *subject)))
    return encoded(hashlib.sha256(text.encode()).digest()[:24])  # 32 letters, the most there are


def _cut(text: str, room: int) -> str:
    """Return text of at most `room` bytes, cut at the end of a line or word."""
    raw = text.encode()
    if len(raw) <= room:
        return text
    kept = raw[: max(room - len("…".encode()), 0)].decode(errors="ignore")
    ends = max(kept.rfind("\n"), kept.rfind(" "))
    return (kept[:ends] if ends > len(kept) // 2 else kept).rstrip() + "…"
