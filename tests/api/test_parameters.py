"""A filter that cannot be read is refused by name: it must not mean "all"."""

import pytest

from tests.api.factories import World
from tests.api.test_problems import problem

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("account", "nothing"), ("account", "%00"), ("feed", "macro"), ("feed", "%00"),
        ("feed", "9" * 30), ("feed", "-1"), ("from", "yesterday"), ("to", "2026-02-30"),
        ("to", "1969-12-31"), ("from", "9001-01-01"),
        ("before", "x"), ("pair", "EUR%00"), ("q", "%00"),
    ],
)  # fmt: skip
def test_history_names_the_filter_that_it_cannot_read(world: World, name: str, value: str) -> None:
    for ending in ("", "&format=csv"):
        answer = world.client("alice").get(f"/api/v1/history/orders/?{name}={value}{ending}")
        assert problem(answer, 400, "FIELD_INVALID")["errors"][0]["field"] == name


def test_all_faults_are_named_at_once(world: World) -> None:
    answer = world.client("alice").get("/api/v1/history/trades/?from=x&to=y&pair=EUR/USD")
    assert [one["field"] for one in problem(answer, 400, "FIELD_INVALID")["errors"]] == [
        "from",
        "to",
    ]


def test_empty_filters_leave_out_nothing(world: World) -> None:
    alice = world.client("alice")
    every = alice.get("/api/v1/history/orders/").json()
    assert every["results"]
    assert alice.get("/api/v1/history/orders/?account=&feed=&from=&q=").json() == every


def test_longest_number_that_is_taken_is_a_filter(world: World) -> None:
    answer = world.client("alice").get(f"/api/v1/history/orders/?feed={'9' * 18}")
    assert answer.json()["results"] == []


@pytest.mark.parametrize("name", ["before", "twin"])
def test_comparison_names_the_filter_that_it_cannot_read(world: World, name: str) -> None:
    pk = world.connection.subscriptions.get().pk
    answer = world.client("alice").get(f"/api/v1/subscriptions/{pk}/comparison/?{name}=x")
    assert problem(answer, 400, "FIELD_INVALID")["errors"][0]["field"] == name


def test_trail_names_the_filter_that_it_cannot_read(world: World) -> None:
    answer = world.client("alice").get("/api/v1/trail/?before=x")
    assert problem(answer, 400, "FIELD_INVALID")["errors"][0]["field"] == "before"
