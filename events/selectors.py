"""Queries for notifications and channels."""

from django.db.models import QuerySet

from events.models import Channel, EventKind, Notification

WANTS_PLACED = (
    f"is_active AND confirmed_at IS NOT NULL AND kinds ? '{EventKind.ORDER_PLACED.value}'"
)
"""SQL over events_channel: the channels that receive each accepted order.

Without such a channel no event is written: it would be one for every order of every account.
"""


def unread_count(user_id: int) -> int:
    """Return how many notifications the user has not read."""
    return Notification.objects.filter(user_id=user_id, read_at=None).count()


def inbox(user_id: int) -> QuerySet[Notification]:
    """Return a user's notifications, newest first."""
    return Notification.objects.filter(user_id=user_id).order_by("-id")


def channels_of(user_id: int) -> QuerySet[Channel]:
    """Return a user's channels by name."""
    return Channel.objects.filter(user_id=user_id).order_by("name", "id")
