"""The web process works under row-level security: all that a tenant does here must pass it."""

import pytest
from django.db import DatabaseError, connection, transaction

from events import selectors, services
from events.models import Channel, Event, EventKind, Notification
from users.models import User
from users.tenancy import act_as

pytestmark = pytest.mark.django_db


def unread(user: User) -> int:
    return selectors.inbox(user.pk).filter(read_at=None).count()


def become_web(user: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL ROLE fillcast_web")
    act_as(user)


@pytest.fixture
def delivered_events(alice: User, bob: User) -> None:
    for owner in (alice, bob):
        Notification.objects.create(
            user=owner, event_id=owner.pk, kind=EventKind.ORDER_FILLED, title="Filled"
        )


@pytest.mark.usefixtures("delivered_events")
def test_tenant_manages_own_channels_through_web_role(alice: User, bob: User) -> None:
    theirs = services.create_channel(user_id=bob.pk, name="b", url="mailto:b@example.com")
    become_web(alice)
    assert (unread(alice), unread(bob)) == (1, 0)
    assert (services.mark_read(user_id=alice.pk), services.mark_read(user_id=bob.pk)) == (1, 0)
    mine = services.create_channel(user_id=alice.pk, name="a", url="https://a.example.com/hook")
    assert list(Channel.objects.all()) == [mine]
    event_id = services.send_test(channel_id=mine.pk)
    assert Event.objects.get().pk == event_id
    with pytest.raises(Channel.DoesNotExist):
        services.send_test(channel_id=theirs.pk)


def test_tenant_cannot_write_others_events_or_channels(alice: User, bob: User) -> None:
    become_web(alice)
    with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
        services.emit(EventKind.ORDER_FILLED, user_id=bob.pk)
    with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
        services.create_channel(user_id=bob.pk, name="b", url="mailto:b@example.com")
