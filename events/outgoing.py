"""Compose what goes to a channel: texts for people that its service accepts, data for programs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.conf import settings

from common.web.reason_links import reason_url
from events import confirmation
from events.channels import Outgoing
from events.context import EventContext
from events.messages.lines import fitting
from events.messages.parts import ROOM, TITLE_MAX
from events.messages.records import record_lines
from events.models import ALARMS, Channel, Digest
from events.routing import for_machines, rendered

MAX_LINKS = 5
DIGEST_LEADS = {Digest.HOURLY.value: "This hour: ", Digest.DAILY.value: "This day: "}


def confirmation_message(channel: Channel, request: Any) -> Outgoing:
    """Return the message that asks the reader to confirm the address."""
    facts = {
        "link": confirmation.link_of(channel),
        "code": confirmation.code_of(channel),
        "name": channel.name,
    }
    event = replace(EventContext(*request[2:]), facts=facts)
    message = rendered([event])
    return Outgoing(message.title, message.body, is_alarm=False, events=[{"id": event.id}])


def message_of(events: Sequence[EventContext], *, digest: str = "", most: int = ROOM) -> Outgoing:
    """Return one message about all these events, with links to where the reader can act.

    digest: of the channel (models.Digest), named in the title of a message about several events.
    A digest states the newest links of the feeds' records, too. most: characters of title and text.
    """
    records = record_lines(events) if digest else []
    lead = DIGEST_LEADS.get(digest, "") if len(events) > 1 else ""
    room = most - len(lead) - TITLE_MAX - 2
    tail = [*records, *_links(events)]
    tail = fitting(tail, room=room // 2, most=len(tail), what="lines") if tail else []
    message = rendered(events, room=room - sum(len(line) + 1 for line in tail))
    return Outgoing(
        title=lead + message.title,
        body="\n".join(filter(None, [message.body, *tail])),
        is_alarm=any(event.kind in ALARMS for event in events),
        events=[for_machines(event) for event in events],
    )


def _links(events: Sequence[EventContext]) -> list[str]:
    """Return the addresses of the pages to act on and of the reason codes."""
    codes = dict.fromkeys(event.get("code") for event in events)
    pages = [*dict.fromkeys(page for event in events if (page := event.get("page")))]
    pages += [address for code in codes if (address := reason_url(code))]
    return [settings.FILLCAST_PUBLIC_URL.rstrip("/") + page for page in pages[:MAX_LINKS]]
