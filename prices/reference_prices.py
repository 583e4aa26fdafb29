"""The quote that the prices of a feed's signals are compared with before they are published."""

from datetime import timedelta

from django.db.models.functions import Now

from connections.selectors import reference_source_ids, smallest_steps
from prices.models import LatestQuote
from signals.models import Feed
from signals.price_guard import Reference
from users.tenancy import for_all_tenants

# The guard looks for wrong digits: a quote from before a long weekend shows them as well.
MAX_AGE = timedelta(days=4)


def newest_reference(feed: Feed, pair: str, /, *, with_steps: bool) -> Reference | None:
    """Return the newest quote of the sources that a feed's accounts trade on; None without one.

    with_steps: with the smallest pip and tick that the feed's accounts have for it.

    It reads all tenants' accounts, and returns nothing of them.
    """
    with for_all_tenants():
        sources = reference_source_ids(
            feed.pk, owner_id=feed.owner_id, reaches_admins=feed.reaches_admins
        )
        recent = LatestQuote.objects.filter(
            data_connection_id__in=sources, symbol=pair, received_at__gt=Now() - MAX_AGE
        ).select_related("data_connection")
        newest = recent.order_by("-received_at", "data_connection_id").first()
        if newest is None:
            return None
        pip = tick = None
        if with_steps:
            pip, tick = smallest_steps(
                pair, feed_id=feed.pk, owner_id=feed.owner_id, reaches_admins=feed.reaches_admins
            )
    name = newest.data_connection.name
    return Reference(
        newest.bid, newest.ask, newest.time, name, pip, tick, newest.data_connection_id
    )
