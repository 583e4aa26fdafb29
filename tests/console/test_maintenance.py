"""Operators enter when a broker is maintained; owners read it on their account's page."""

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
def announced() -> dict[str, str]:
    began = datetime.now(UTC) - timedelta(minutes=5)
    return {
        "note": "The exchange moves house.", "is_active": "on", "broker_type": "paper",
        "exchange_name": "", "host": "", "weekday": "", "on_date": f"{began:%Y-%m-%d}",
        "starts_at": f"{began:%H:%M:%S}", "zone": "UTC", "minutes": "60", "is_closed": "on",
    }  # fmt: skip


def test_a_window_is_entered_listed_kept_and_shown_to_its_accounts(
    small: dict[str, Any], announced: dict[str, str], page: Page, client: Client
) -> None:
    client.force_login(small["operator"])
    answer = client.post(ADD, announced)
    assert answer.status_code == 302, answer.context["errors"]
    assert "The exchange moves house." in page("/admin/connections/maintenancewindow/")
    lines = TrailLine.objects.filter(relation="connections_maintenancewindow")
    assert [(one.operation, one.user_id) for one in lines] == [("insert", small["operator"].pk)]
    (account, *_) = small["connections"]
    html = page(f"/admin/connections/executionconnection/{account.pk}/")
    assert "The exchange moves house. Entries wait; exits are sent." in html
    client.force_login(account.user or account.admin)
    assert "The exchange moves house." in page(f"/accounts/{account.pk}/")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"broker_type": "mt6"}, "One of "),
        ({"zone": "Mars/Olympus"}, "No such time zone."),
        ({"minutes": "0"}, "At least a minute and at most a week."),
        ({"weekday": "4"}, "Either a weekday or a date."),
    ],
)
def test_what_would_never_hold_is_refused(
    small: dict[str, Any], announced: dict[str, str], client: Client, wrong: Any, said: str
) -> None:
    client.force_login(small["operator"])
    answer = client.post(ADD, {**announced, **wrong})
    assert answer.status_code == 200
    assert said in html_of(answer)
    assert not MaintenanceWindow.objects.exists()


def test_who_may_only_look_enters_nothing(
    small: dict[str, Any], announced: dict[str, str], client: Client
) -> None:
    reader = staff(Role.SUPPORT, name="reader")
    client.force_login(reader)
    assert client.get("/admin/connections/maintenancewindow/").status_code == 200
    assert client.post(ADD, announced).status_code == 403
    assert not MaintenanceWindow.objects.exists()
