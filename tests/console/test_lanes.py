"""Pages of connections: the session lane and its worker, and what is open while inactive."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from connections.exposure import describe_open_items, open_items
from connections.models import ConnectionHealth, ExecutionConnection, LaneLease
from execution.models import Order
from tests.console import seed


def an_order(small: dict[str, Any], status: str, reason: str = "") -> Order:
    """Publish a signal to the first account, whose order has this status."""
    published = seed.signal(small["feed"], candidate_count=1)
    (order,) = seed.orders(published, small["connections"][:1], {(status, reason): 1})
    return order


def test_page_names_the_worker_of_an_account(
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
    html = page(path)
    assert "sessions.2" in html
    assert "host-7-aa" in html


def test_pages_state_what_is_open_at_an_inactive_connection(
    small: dict[str, Any], page: Callable[..., str], client: Client
) -> None:
    client.force_login(small["operator"])
    order = an_order(small, "FILLED")
    account = seed.position(order).connection
    path = reverse("admin:connections_executionconnection_page", args=[account.pk])
    listed = reverse("admin:connections_executionconnection_changelist")
    assert "Still open" not in page(path)
    ExecutionConnection.objects.filter(pk=account.pk).update(is_active=False)
    description = describe_open_items(open_items(account.pk))
    assert f"Still open: {description}" in page(path)
    assert f"Off, {len(open_items(account.pk))} open" in page(path)
    assert f"Off, {len(open_items(account.pk))} open" in page(listed)
    question = page(reverse("admin:connections_executionconnection_archive", args=[account.pk]))
    assert f"Still open: {description}. This is not monitored once" in question
    ConnectionHealth.objects.filter(pk=account.pk).update(inactivity_alerted_at=timezone.now())
    assert "No contact since" in page(path)


def test_page_states_what_rounding_left_out(
    small: dict[str, Any], page: Callable[..., str], client: Client
) -> None:
    client.force_login(small["operator"])
    account = small["connections"][0]
    order = an_order(small, "FILLED")
    path = reverse("admin:connections_executionconnection_page", args=[account.pk])
    assert "left out by rounding" not in page(path)
    type(order).objects.filter(pk=order.pk).update(unrounded_quantity=order.quantity + 700)
    assert "700 EUR of EUR/USD left out by rounding (1 entry)" in page(path)


def test_order_that_has_ended_does_not_wait(
    small: dict[str, Any], page: Callable[..., str], client: Client
) -> None:
    client.force_login(small["operator"])
    account = small["connections"][0]
    order = an_order(small, "PENDING", "QUOTE_STALE")
    since = timezone.now()
    type(order).objects.filter(pk=order.pk).update(waiting_since=since)
    path = reverse("admin:connections_executionconnection_page", args=[account.pk])
    assert "Waiting since" in page(path)
    type(order).objects.filter(pk=order.pk).update(status="EXPIRED", done_at=since)
    assert "QUOTE_STALE" in page(path)
    assert "Waiting since" not in page(path)


def test_positions_name_the_number_of_their_account(
    small: dict[str, Any], page: Callable[..., str], client: Client
) -> None:
    client.force_login(small["operator"])
    order = an_order(small, "FILLED")
    account = seed.position(order).connection
    listed = page(reverse("admin:positions_executionposition_changelist"))
    assert f"{account.name} · {account.account}" in listed
