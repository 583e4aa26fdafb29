"""No value in any field or filter makes the API fail with a server error."""

import json
from copy import copy
from typing import Any

import pytest
from django.db import connection, transaction
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from tests.api.factories import World
from tests.api.test_matrix import CASES, call
from users.services import user_for_key

MALFORMED = [
    '""', '"\\u0000"', '"\\ud800"', "1e999", "-1", "9" * 40, '"１_２"', "[]", "{}", "true",
    '{"a": {"b": ["\\u0000"]}}', '"' + "x" * 9000 + '"',
]  # fmt: skip
WRITING = [name for name, case in CASES.items() if case.kind != "token" and "GET" not in name]
GETTING = [name for name in CASES if name.startswith("GET") and "{" not in name]


def schema() -> Any:
    generator: Any = SchemaGenerator
    return generator().get_schema(request=None, public=True)


@pytest.fixture(scope="module")
def document() -> Any:
    return schema()


def fields_of(document: Any, name: str) -> list[str]:
    method, path = name.split(" ")
    body = document["paths"][path][method.lower()].get("requestBody")
    if not body:
        return []
    reference = body["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
    return list(document["components"]["schemas"][reference]["properties"])


@pytest.mark.slow
@pytest.mark.timeout(400)  # a preset has eighty fields: a thousand requests
@pytest.mark.parametrize("name", WRITING)
def test_api_never_fails_on_a_field(world: World, document: Any, name: str) -> None:
    case, (method, path) = CASES[name], name.split(" ")
    for key, value in case.path(world).items():
        path = path.replace("{" + key + "}", str(value))
    client, alice = APIClient(), user_for_key(world.keys["alice"])
    for field in [*fields_of(document, name), "unknown"]:
        for value in MALFORMED:
            body = json.dumps({**case.body(world), field: None})
            body = body.replace(f'"{field}": null', f'"{field}": {value}')
            client.force_authenticate(copy(alice))  # keys are tested elsewhere
            with transaction.atomic():
                send = getattr(client, method.lower())
                response = send(path, body.encode(), content_type="application/json")
                assert response.status_code < 500, (field, value, response.content)
                check_constraints()
                transaction.set_rollback(True)


@pytest.mark.slow
@pytest.mark.parametrize("name", GETTING)
def test_api_never_fails_on_a_filter(world: World, document: Any, name: str) -> None:
    path = name.split(" ")[1]
    client = world.client("alice")
    values = ["\x00", "x", "-1", "NaN", "9" * 40, "１２", "'\"%"]
    for parameter in document["paths"][path]["get"].get("parameters", []):
        for value in values:
            with transaction.atomic():
                response = client.get(path, {parameter["name"]: value})
                assert response.status_code < 500, (parameter["name"], value, response.content)
                transaction.set_rollback(True)
    assert call(world, "alice", name, CASES[name]).status_code == 200


def check_constraints() -> None:
    """Check deferred foreign keys now, as a commit would."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
