"""Notify a provider of an alert that was refused after the answer to its sender."""

from alerts.models import IncomingAlert
from common.errors import FillcastError
from events.models import EventKind
from events.services import emit


def notify_refused(alert: IncomingAlert, error: FillcastError) -> None:
    """Write the event for a refused alert, with its feed, in the caller's transaction."""
    emit(
        EventKind.ALERT_REFUSED,
        user_id=alert.feed.owner_id,
        payload={
            "feed": alert.feed.slug,
            "alert": alert.pk,
            "state": str(alert.state),
            "code": str(error.code),
            "detail": alert.detail,
            "received": f"{alert.received_at:%Y-%m-%d %H:%M:%S} UTC",
        },
    )
