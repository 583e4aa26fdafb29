"""The lane of an account that needs a session, and who holds it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from connections.models import ExecutionConnection, LaneLease


def test_the_page_says_who_speaks_to_an_account(
    small: dict[str, Any], page: Callable[..., str], client: Client
) -> None:
    client.force_login(small["operator"])
    account = small["connections"][0]
    path = reverse("admin:connections_executionconnection_page", args=[account.pk])
    assert "Held by" not in page(path)
    ExecutionConnection.objects.filter(pk=account.pk).update(lane="sessions.2")
    assert "no worker: its orders wait" in page(path)
    now = timezone.now()
    LaneLease.objects.create(
        lane="sessions.2", owner="host-7-aa", taken_at=now, until=now + timedelta(seconds=10)
    )
    shown = page(path)
    assert "sessions.2" in shown
    assert "host-7-aa" in shown
