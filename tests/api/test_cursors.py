"""The cursor of a list comes from its last answer; any other one is refused, whatever it says."""

from base64 import b64encode

import pytest

from tests.api.factories import World

LISTS = {
    "orders": ("", "id", "-created_at"),
    "feeds": ("", "name", "-created_at"),
    "api-keys": ("", "id", "-id"),
}
WRONG = {
    "no base64": "x",
    "not ASCII": "ß",
    "a text for a number": b64encode(b"p=abc").decode(),
    "a NUL": b64encode(b"p=%00").decode(),
    "a number beyond the column": b64encode(b"p=99999999999999999999999999").decode(),
    "no position": b64encode(b"p=&r=1").decode(),
    "no such direction": b64encode(b"r=left").decode(),
    "an infinite offset": b64encode(b"o=1e400").decode(),
}


@pytest.mark.parametrize("cursor", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("name", LISTS)
def test_wrong_cursor_is_refused(world: World, name: str, cursor: str) -> None:
    client = world.client("alice")
    for ordering in LISTS[name]:
        answer = client.get(f"/api/v1/{name}/", {"cursor": cursor, "ordering": ordering})
        assert answer.status_code in (200, 400), (ordering, answer.content)
        if answer.status_code == 400:
            [error] = answer.json()["errors"]
            assert (error["code"], error["field"]) == ("FIELD_INVALID", "cursor")
