"""Write what is announced to buses alone."""

from datetime import date, timedelta
from typing import Any

from buses.models import Announcement
from common.db.functions import ClockTimestamp

KEPT = timedelta(days=30)


def on_day_computed(*, day: date, accounts: int, **_: Any) -> None:
    """Announce that the results of a day are computed, in the caller's transaction."""
    data = {"day": day.isoformat(), "accounts": accounts}
    Announcement.objects.create(kind=Announcement.Kind.ANALYTICS_READY, data=data)
    Announcement.objects.filter(at__lt=ClockTimestamp() - KEPT).delete()
