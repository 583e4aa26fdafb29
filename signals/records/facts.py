"""The link of a signal in its feed's record, for messages about what became of the signal.

Who gets these messages keeps them where the service's operator cannot change them. Each link states
all that its feed published before it, so that nothing of it can be rewritten unnoticed. ADR 0040.
"""

from collections.abc import Sequence

from common.db.sql import rows
from common.hash_chain import Head
from events.context import EventContext
from signals.records.sql import LINKS, PUBLISHED
from users.tenancy import for_all_tenants

LINKS_OF_SIGNALS = f"""
SELECT l.signal_id, f.slug, l.number, l.hash FROM {LINKS} l JOIN signals_feed f ON f.id = l.feed_id
WHERE l.signal_id = ANY(%s::bigint[]) AND l.{PUBLISHED} AND l.number IS NOT NULL
"""


def record_facts(events: Sequence[EventContext]) -> dict[int, dict[str, str]]:
    """Return `record_feed` and `record_link` (NUMBER:HASH) by event id, in one query."""
    signals = {event.signal_id for event in events if event.signal_id}
    if not signals:
        return {}
    with for_all_tenants():
        found = {
            row.signal_id: {
                "record_feed": str(row.slug),
                "record_link": Head(row.number, row.hash).text,
            }
            for row in rows(LINKS_OF_SIGNALS, [sorted(signals)])
        }
    return {event.id: found[event.signal_id] for event in events if event.signal_id in found}
