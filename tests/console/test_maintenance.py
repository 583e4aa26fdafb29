"""Maintenance windows: operators enter them, and owners see them on their account's page."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from common.models import TrailLine
from common.permissions import Role
from connections.models import MaintenanceWindow
from tests.html import html_of
from tests.roles import staff

Page = Callable[..., str]
ADD = "/admin/connections/maintenancewindow/add/"


@pytest.fixture
def form() -> dict[str, str]:
    began = datetime.now(UTC) - timedelta(minutes=5)
    return {
        "note": "The exchange is moving.", "is_active": "on", "broker_type": "paper",
        "exchange_name": "", "host": "", "weekday": "", "on_date": f"{began:%Y-%m-%d}",
        "starts_at": f"{began:%H:%M:%S}", "zone": "UTC", "minutes": "60", "is_closed": "on",
    }  # fmt: skip


def test_window_is_stored_listed_audited_and_displayed_to_its_accounts(
    small: dict[str, Any], form: dict[str, str], page: Page, client: Client
) -> None:
    client.force_login(small["operator"])
    response = client.post(ADD, form)
    assert response.status_code == 302, response.context["errors"]
    assert "The exchange is moving." in page("/admin/connections/maintenancewindow/")
    lines = TrailLine.objects.filter(relation="connections_maintenancewindow")
    assert [(line.operation, line.user_id) for line in lines] == [("insert", small["operator"].pk)]
    (account, *_) = small["connections"]
    html = page(f"/admin/connections/executionconnection/{account.pk}/")
    assert "The exchange is moving. Entries wait; exits are sent." in html
    client.force_login(account.user or account.admin)
    assert "The exchange is moving." in page(f"/accounts/{account.pk}/")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"broker_type": "mt6"}, "One of "),
        ({"zone": "Mars/Olympus"}, "No such time zone."),
        ({"minutes": "0"}, "At least a minute and at most a week."),
        ({"weekday": "4"}, "Either a weekday or a date."),
    ],
)
def test_invalid_window_is_refused(
    small: dict[str, Any], form: dict[str, str], client: Client, wrong: Any, message: str
) -> None:
    client.force_login(small["operator"])
    response = client.post(ADD, {**form, **wrong})
    assert response.status_code == 200
    assert message in html_of(response)
    assert not MaintenanceWindow.objects.exists()


def test_support_cannot_enter_windows(
    small: dict[str, Any], form: dict[str, str], client: Client
) -> None:
    reader = staff(Role.SUPPORT, name="reader")
    client.force_login(reader)
    assert client.get("/admin/connections/maintenancewindow/").status_code == 200
    assert client.post(ADD, form).status_code == 403
    assert not MaintenanceWindow.objects.exists()
