"""What the API says about its caller, and lets them change."""

import pytest
from django.test import Client

from tests.api.factories import World

pytestmark = pytest.mark.django_db


def test_signed_in_browser_changes_its_own_profile(world: World) -> None:
    client = Client()
    client.force_login(world.alice)
    body = {"time_zone": "Europe/Vienna"}
    answer = client.patch("/api/v1/me/", body, content_type="application/json")
    assert (answer.status_code, answer.json()["time_zone"]) == (200, "Europe/Vienna")
    world.alice.refresh_from_db()
    assert world.alice.time_zone == "Europe/Vienna"


def test_signed_in_browser_changes_what_it_has_read(world: World) -> None:
    client = Client()
    client.force_login(world.alice)
    read = client.get("/api/v1/me/")["ETag"]

    def change(zone: str) -> int:
        body = {"time_zone": zone}
        answer = client.patch(
            "/api/v1/me/", body, content_type="application/json", HTTP_IF_MATCH=read
        )
        return answer.status_code

    assert change("Europe/Vienna") == 200
    assert change("Asia/Tokyo") == 412
    world.alice.refresh_from_db()
    assert world.alice.time_zone == "Europe/Vienna"
