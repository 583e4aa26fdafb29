"""ETags: no change overwrites another. Of each GET: test_every_read.py."""

from datetime import date
from typing import Any

import pytest
from django.db import connection as database
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from common.web.api_views import ApiView
from common.web.deprecation import Deprecation, deprecated
from connections.models import ExecutionConnection, TradingPreset
from prices.models import LatestQuote
from tests.api.factories import World
from tests.api.test_problems import problem
from tests.changes.concurrent_forms import at_once


def get(world: World, path: str, **headers: str) -> Any:
    return world.client("alice").get(f"/api/v1/{path}", **headers)  # type: ignore[arg-type]


def test_change_with_the_current_etag_is_made_once(world: World) -> None:
    path = f"presets/{world.preset.pk}/"
    tag = get(world, path)["ETag"]
    client = world.client("alice")
    first = client.patch(f"/api/v1/{path}", {"name": "two"}, format="json", HTTP_IF_MATCH=tag)
    assert first.status_code == 200
    assert first["ETag"] == get(world, path)["ETag"] != tag
    second = client.patch(f"/api/v1/{path}", {"name": "three"}, format="json", HTTP_IF_MATCH=tag)
    problem(second, 412, "OBJECT_CHANGED")
    assert get(world, path).json()["name"] == "two"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("row", "path", "bodies"),
    [
        ("preset", "presets/{}/", ({"name": "two"}, {"max_open_positions": 3})),
        ("connection", "connections/{}/", ({"name": "one"}, {"auto_correct": True})),
        ("subscription", "subscriptions/{}/", ({"multiplier": "2"}, {"priority": 3})),
    ],
)
def test_one_of_two_writers_with_the_same_etag_wins(
    world: World, row: str, path: str, bodies: tuple[dict[str, Any], ...]
) -> None:
    locked = getattr(world, row)
    address = f"/api/v1/{path.format(locked.pk)}"
    tag = world.client("alice").get(address)["ETag"]

    def write(body: dict[str, Any]) -> int:
        client = world.client("alice")
        answer = client.patch(address, body, format="json", HTTP_IF_MATCH=tag)
        database.close()
        return int(answer.status_code)

    codes = at_once(locked, *[lambda body=body: write(body) for body in bodies])
    assert sorted(codes) == [200, 412]


def test_post_about_an_object_takes_if_match(world: World) -> None:
    path = f"/api/v1/connections/{world.connection.pk}/"
    client = world.client("alice")
    tag = client.get(path)["ETag"]
    ExecutionConnection.objects.filter(pk=world.connection.pk).update(name="renamed")
    problem(client.post(f"{path}pause/", HTTP_IF_MATCH=tag), 412, "OBJECT_CHANGED")
    assert client.post(f"{path}pause/", HTTP_IF_MATCH=client.get(path)["ETag"]).status_code == 200
    assert client.delete(path, HTTP_IF_MATCH=tag).status_code == 412
    assert client.post(f"{path}resume/", HTTP_IF_MATCH="*").status_code == 200


def test_repetition_is_answered_although_the_object_has_changed(world: World) -> None:
    path = f"/api/v1/connections/{world.connection.pk}/"
    client = world.client("alice")
    headers: Any = {"HTTP_IF_MATCH": client.get(path)["ETag"], "HTTP_IDEMPOTENCY_KEY": "k"}
    codes = [client.post(f"{path}pause/", **headers).status_code for _ in range(2)]
    assert codes == [200, 200]


def test_price_changes_the_content_but_not_the_state_of_a_position(world: World) -> None:
    path = f"positions/{world.position.pk}/"
    before = get(world, path)["ETag"]
    LatestQuote.objects.create(
        data_connection=world.prices, symbol="EUR/USD", bid="1.39", ask="1.3901",
        time=world.position.opened_at,
    )  # fmt: skip
    after = get(world, path)["ETag"]
    assert get(world, path, HTTP_IF_NONE_MATCH=before).status_code == 200
    assert before != after
    changed = world.client("alice").patch(
        f"/api/v1/{path}", {"take_profit": "1.45"}, format="json", HTTP_IF_MATCH=before
    )
    assert changed.status_code == 200, changed.content


def test_etag_of_some_fields_is_about_these(world: World) -> None:
    path = f"presets/{world.preset.pk}/"
    tag = get(world, f"{path}?fields=id,name")["ETag"]
    TradingPreset.objects.filter(pk=world.preset.pk).update(max_open_positions=7)
    client = world.client("alice")

    def send() -> Any:
        return client.patch(f"/api/v1/{path}", {"name": "x"}, format="json", HTTP_IF_MATCH=tag)

    assert send().status_code == 200
    problem(send(), 412, "OBJECT_CHANGED")


@pytest.mark.parametrize(
    "path", ["feeds/by-hand/tokens/1/revoke/", "presets/", "notifications/read/"]
)
def test_if_match_without_an_object_is_refused(world: World, path: str) -> None:
    answer = world.client("alice").post(f"/api/v1/{path}", {}, format="json", HTTP_IF_MATCH='"x"')
    problem(answer, 400, "PRECONDITION_UNSUPPORTED")


@pytest.mark.parametrize("tag", ["", '""', "W/", '"a.b:no+such"', "\u00fc", '"' + "x" * 5000])
def test_malformed_if_match_is_never_current(world: World, tag: str) -> None:
    answer = world.client("alice").patch(
        f"/api/v1/presets/{world.preset.pk}/", {"name": "x"}, format="json", HTTP_IF_MATCH=tag
    )
    problem(answer, 412, "OBJECT_CHANGED")


def test_if_match_of_anothers_object_is_not_found(world: World) -> None:
    answer = world.client("bob").patch(
        f"/api/v1/presets/{world.preset.pk}/", {"name": "x"}, format="json", HTTP_IF_MATCH="*"
    )
    problem(answer, 404, "NOT_FOUND")


NOTICE = {"since": date(2026, 12, 1), "removed_on": date(2027, 12, 1), "instead": "Use /new/."}


class OldView(ApiView):
    permission_classes = ()
    authentication_classes = ()
    throttle_classes = ()

    @deprecated(**NOTICE)  # type: ignore[arg-type]
    def get(self, request: Any) -> Response:
        return Response({})


def test_deprecated_operation_says_so_in_headers_and_schema() -> None:
    from django.urls import path
    from drf_spectacular.generators import SchemaGenerator

    answer = OldView.as_view()(APIRequestFactory().get("/old/"))
    assert answer["Deprecation"] == "@1796083200"
    assert answer["Sunset"] == "Wed, 01 Dec 2027 00:00:00 GMT"
    generator: Any = SchemaGenerator
    schema = generator(patterns=[path("old/", OldView.as_view())])
    operation = schema.get_schema(request=None, public=True)["paths"]["/old/"]["get"]
    assert operation["deprecated"] is True
    assert "removed on 2027-12-01. Use /new/." in operation["description"]


def test_deprecation_gives_half_a_year_of_notice() -> None:
    with pytest.raises(ValueError, match="180 days"):
        Deprecation(date(2026, 1, 1), date(2026, 6, 1), "x")


def test_tag_of_an_empty_list_takes_any_names(world: World) -> None:
    client = world.client("alice")
    path = f"/api/v1/feeds/{world.feed.slug}/terms/?fields=%C3%BE%1D%09%F4%81%9A%B4%0Ax"
    answer = client.get(path)
    assert answer.status_code == 200, answer.content
    assert answer.json() == []
    assert answer.headers["ETag"].isascii()
    assert answer.headers["ETag"].isprintable()
    assert client.get(path, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
