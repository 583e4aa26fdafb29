"""The page that each notification is about."""

import re
from collections.abc import Iterable
from dataclasses import replace

from events.context import EventContext
from events.models import Event, Notification
from events.push_content import INBOX, page_of
from events.routing import EVENT

SEVERAL = re.compile(r"(Paper twin: )?[\d,]+ ")
"""How the title of a notification about several events begins."""


def pages_of(notifications: Iterable[Notification]) -> dict[int, str]:
    """Return the path of the page that a notification is about, by its id, in one query.

    Those about nothing with a page, or whose event was removed after its time, have none.
    """
    listed = list(notifications)
    ids = {one.event_id for one in listed}
    found = Event.objects.filter(pk__in=ids).values_list(*EVENT.split(", "))
    events = {event.id: event for event in (EventContext(*row) for row in found)}
    pages = {one.pk: _page(events[one.event_id], one) for one in listed if one.event_id in events}
    return {pk: path for pk, path in pages.items() if path != INBOX}


def _page(event: EventContext, notification: Notification) -> str:
    if SEVERAL.match(notification.title):  # the position is that of the first event only
        event = replace(event, payload={**event.payload, "position": None})
    return page_of([event], is_operator=False)
