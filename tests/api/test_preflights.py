"""Preflights over the API: the same service as the portal's page."""

import pytest

from analytics.models import Preflight
from analytics.preflight import jobs
from tests.api.factories import World
from tests.connections import make

pytestmark = pytest.mark.django_db


def test_preflight_is_asked_for_and_read(world: World) -> None:
    Preflight.objects.all().delete()
    body = {"connection": str(world.connection.pk), "feed": world.feed.slug, "signals": 20}
    asked = world.client("alice").post("/api/v1/preflights/", body, format="json")
    assert (asked.status_code, asked.json()["state"]) == (202, "waiting")
    assert jobs.run_next()
    found = world.client("alice").get(f"/api/v1/preflights/{asked.json()['id']}/").json()
    assert found["state"] == "ready"
    fates = ("traded", "not_filled", "fill_unknown", "denied", "not_replayed")
    total = sum(found["result"][fate] for fate in fates)
    assert total == found["result"]["signals"] == found["signals_total"]
    [listed] = world.client("alice").get("/api/v1/preflights/").json()["results"]
    assert "result" not in listed


def test_one_person_cannot_fill_the_queue(world: World) -> None:
    Preflight.objects.all().delete()
    alice = world.client("alice")
    feeds = [make.feed(world.connection.user) for _ in range(4)]
    bodies = [{"connection": str(world.connection.pk), "feed": feed.slug} for feed in feeds]
    answers = [alice.post("/api/v1/preflights/", body, format="json") for body in bodies]
    assert [one.status_code for one in answers] == [202, 202, 202, 409]
    assert answers[3].json()["code"] == "TOO_MANY_PREFLIGHTS"
    assert jobs.run_next()
    assert alice.post("/api/v1/preflights/", bodies[3], format="json").status_code == 202


@pytest.mark.parametrize(
    ("field", "value"), [("signals", 501), ("multiplier", "0"), ("directions", "UP"),
                         ("symbol_map", {"EUR/USD": 1}), ("feed", "no-such-feed")],
)  # fmt: skip
def test_invalid_values_are_refused(world: World, field: str, value: object) -> None:
    body = {"connection": str(world.connection.pk), "feed": world.feed.slug, field: value}
    answer = world.client("alice").post("/api/v1/preflights/", body, format="json")
    assert answer.status_code == 400
    assert field in answer.content.decode()
