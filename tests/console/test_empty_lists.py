"""An empty list of buses states what appears in it, and what to do for it."""

import pytest
from django.test import Client

from common.permissions import Role
from tests.html import html_of
from tests.roles import staff

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bussink", "name the buses in FILLCAST_BUSES and restart"),
        ("deadletter", "No bus has refused an event."),
        ("buslane", "name its bus in FILLCAST_BUSES with from+"),
        ("busroute", "Add a route: a subject of approved signals"),
        ("busmessage", "No bus has sent a message."),
    ],
)
def test_empty_list_of_buses_states_what_to_do(name: str, text: str) -> None:
    client = Client()
    client.force_login(staff(Role.ADMINISTRATOR))
    shown = html_of(client.get(f"/admin/buses/{name}/"))
    assert text in shown
    assert "Rows appear here automatically." not in shown
