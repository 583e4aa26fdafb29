"""The messages about the approval of feeds. Pure."""

from events.context import EventContext
from events.messages.parts import Lines


def approval_asked(event: EventContext) -> Lines:
    return (
        f"The feed {event.get('feed')} waits for your approval",
        f"{event.get('owner')} asked for it. {event.get('text')}".strip(),
        "Approve or refuse it on the feed's page in the console.",
    )


def approval_decided(event: EventContext) -> Lines:
    granted = event.get("outcome") == "GRANTED"
    meaning = (
        "Its signals are traded on every subscribed account."
        if granted
        else "Its signals wait for an operator, one by one. You can ask again."
    )
    return (
        f"Your feed {event.get('feed')} was {'approved' if granted else 'refused'}",
        event.get("sentence"),
        meaning,
    )
