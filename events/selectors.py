"""What a user has been told, and which channels ask for what."""

from django.db.models import QuerySet

from events.models import Channel, EventKind, Notification

WANTS_PLACED = (
    f"is_active AND confirmed_at IS NOT NULL AND kinds ? '{EventKind.ORDER_PLACED.value}'"
)
"""SQL over events_channel: those that ask for each accepted order. Without one, there is no event:
it would be written for every order of every account, and read nowhere."""


def unread_count(user_id: int) -> int:
    """Return how many notifications wait to be read."""
    return Notification.objects.filter(user_id=user_id, read_at=None).count()


def inbox(user_id: int) -> QuerySet[Notification]:
    """Return a user's notifications, newest first."""
    return Notification.objects.filter(user_id=user_id).order_by("-id")


def channels_of(user_id: int) -> QuerySet[Channel]:
    return Channel.objects.filter(user_id=user_id).order_by("name", "id")
