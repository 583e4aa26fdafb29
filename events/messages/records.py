"""The lines of a digest about feeds' records: what its reader keeps as proof. Pure."""

from collections.abc import Sequence

from events.context import EventContext

MOST = 10


def record_lines(events: Sequence[EventContext]) -> list[str]:
    """Return the newest link of each feed that the events are about, and what it is good for."""
    newest: dict[str, str] = {}
    for event in events:
        feed, link = event.get("record_feed"), event.get("record_link")
        if feed and link and _number(link) >= _number(newest.get(feed, "0:")):
            newest[feed] = link
    if not newest:
        return []
    shown = [f"Record of {feed}: {link}" for feed, link in sorted(newest.items())]
    more = [f"… and {len(shown) - MOST} more feeds."] if len(shown) > MOST else []
    why = "Keep this message: with it you can prove if a record is rewritten before that link."
    return [*shown[:MOST], *more, why]


def _number(link: str) -> int:
    return int(link.partition(":")[0])
