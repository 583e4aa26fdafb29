"""The lane of an account that needs a session, and who holds it; what is open where one is off."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from connections.exposure import describe_open_items, open_items
from connections.models import ConnectionHealth, ExecutionConnection, LaneLease
from tests.console import seed


def test_the_page_says_who_speaks_to_an_account(
    small: dict[str, Any], page: Callable[..., str], client: Client
) -> None:
    client.force_login(small["operator"])
    account = small["connections"][0]
    path = reverse("admin:connections_executionconnection_page", args=[account.pk])
    assert "Owned by" not in page(path)
    ExecutionConnection.objects.filter(pk=account.pk).update(lane="sessions.2")
    assert "No worker; its orders wait" in page(path)
    assert "Ready to trade" not in page(path)
    assert "<code>celery -A config worker -P threads -Q sessions</code>" in page(path)
    now = timezone.now()
    LaneLease.objects.create(
        lane="sessions.2", owner="host-7-aa", acquired_at=now, until=now + timedelta(seconds=10)
    )
    shown = page(path)
    assert "sessions.2" in shown
    assert "host-7-aa" in shown


def test_the_pages_say_what_is_open_where_a_connection_is_off(
    small: dict[str, Any], page: Callable[..., str], client: Client
) -> None:
    client.force_login(small["operator"])
    published = seed.signal(small["feed"], candidate_count=1)
    (order,) = seed.orders(published, small["connections"], {("FILLED", ""): 1})
    account = seed.position(order).connection
    path = reverse("admin:connections_executionconnection_page", args=[account.pk])
    listed = reverse("admin:connections_executionconnection_changelist")
    assert "Still open" not in page(path)
    ExecutionConnection.objects.filter(pk=account.pk).update(is_active=False)
    said = describe_open_items(open_items(account.pk))
    assert f"Still open: {said}" in page(path)
    assert f"Off, {len(open_items(account.pk))} open" in page(path)
    assert f"Off, {len(open_items(account.pk))} open" in page(listed)
    asked = page(reverse("admin:connections_executionconnection_archive", args=[account.pk]))
    assert f"Still open: {said}. This is not monitored once" in asked
    ConnectionHealth.objects.filter(pk=account.pk).update(inactivity_alerted_at=timezone.now())
    assert "No contact since" in page(path)
