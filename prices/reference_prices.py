"""The quote that the prices of a feed's signals are compared with before they are published."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from common.db.sql import Query, rows
from connections.selectors import reference_sources, smallest_steps
from signals.checks.price_guard import Reference
from signals.models import Feed
from users.tenancy import for_all_tenants


class _Newest(NamedTuple):
    source_id: int
    bid: Decimal
    ask: Decimal
    time: datetime


# The guard looks for wrong digits: a quote from before a long weekend shows them as well.
_NEWEST = Query(
    _Newest,
    """
    SELECT data_connection_id AS source_id, bid, ask, time FROM prices_latestquote
    WHERE data_connection_id = ANY(%s::bigint[]) AND symbol = %s::text
      AND received_at > statement_timestamp() - interval '4 days'
    ORDER BY received_at DESC, data_connection_id LIMIT 1
    """,
)


def newest_reference(feed: Feed, pair: str, /, *, with_steps: bool) -> Reference | None:
    """Return the newest quote of the sources that a feed's accounts trade on; None without one.

    with_steps: with the smallest pip and tick that the feed's accounts have for it.

    It reads all tenants' accounts, and returns nothing of them.
    """
    with for_all_tenants(savepoint=False):
        sources = reference_sources(
            feed.pk, owner_id=feed.owner_id, reaches_admins=feed.reaches_admins
        )
        found = rows(_NEWEST, ([*sources], pair), planned_once=True) if sources else []
        if not found:
            return None
        pip = tick = None
        if with_steps:
            pip, tick = smallest_steps(
                pair, feed_id=feed.pk, owner_id=feed.owner_id, reaches_admins=feed.reaches_admins
            )
    (newest,) = found
    name = sources[newest.source_id]
    return Reference(newest.bid, newest.ask, newest.time, name, pip, tick, newest.source_id)
