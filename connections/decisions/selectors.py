"""What the engine reads of decision providers. Public through `connections.selectors`."""

from datetime import datetime

from connections.models import NewsEvent


def news_around(calendar_id: int, since: datetime, until: datetime) -> list[NewsEvent]:
    """Return a calendar's events from `since` to `until`, both included, in order."""
    events = NewsEvent.objects.filter(calendar=calendar_id, at__gte=since, at__lte=until)
    return list(events.order_by("at", "id"))
