"""What a user has been told."""

from django.db.models import QuerySet

from events.models import Channel, Notification


def unread_count(user_id: int) -> int:
    """Return how many notifications wait to be read."""
    return Notification.objects.filter(user_id=user_id, read_at=None).count()


def inbox(user_id: int) -> QuerySet[Notification]:
    """Return a user's notifications, newest first."""
    return Notification.objects.filter(user_id=user_id).order_by("-id")


def channels_of(user_id: int) -> QuerySet[Channel]:
    return Channel.objects.filter(user_id=user_id).order_by("name", "id")
