"""No value in any field or filter makes the API fail with a server error."""

import json
from collections.abc import Callable, Mapping
from copy import copy
from io import BytesIO
from typing import Any

import pytest
from django.db import connection, transaction
from rest_framework.test import APIClient

from api.parsing import StrictJSONParser
from common.errors import InvalidInputError
from signals.reading import strict_json
from tests.api.calls import call
from tests.api.cases import CASES
from tests.api.factories import World
from tests.api.schemas import whole_schema
from users.services import user_for_key

MALFORMED = ['""', "1e999", "-1", "9" * 40, '"１_２"', "[]", "{}", "true", '"' + "x" * 9000 + '"']
UNREADABLE = ['"\\u0000"', '"\\ud800"', '{"a": {"b": ["\\u0000"]}}']
FILTERS = [
    "\x00", "x", "-1", "1", "NaN", "9" * 40, "１２", "'\"%", "x" * 300,
    "9999-12-31T23:59:59+23:59", "0001-01-01T00:00:00+23:59",
]  # fmt: skip
WRITING = [name for name, case in CASES.items() if case.kind != "token" and "GET" not in name]
GETTING = [name for name in CASES if name.startswith("GET") and "{" not in name]
Send = Callable[[Mapping[str, str]], Any]


@pytest.fixture(scope="module")
def document() -> Any:
    return whole_schema()


def fields_of(document: Any, name: str) -> list[str]:
    method, path = name.split(" ")
    body = document["paths"][path][method.lower()].get("requestBody")
    if not body:
        return []
    reference = body["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
    return list(document["components"]["schemas"][reference]["properties"])


def named_in(response: Any) -> set[str]:
    """Return the fields or filters that a refusal names."""
    errors = response.json()["errors"] if response.status_code == 400 else []
    return {error["field"].split(".")[0] for error in errors}


def send_each(send: Send, sent: Mapping[str, str]) -> None:
    """Send every value: together as long as refusals name some of them, the others one by one.

    A value that is refused by name was looked at as if it were sent alone.
    """
    rest = dict(sent)
    while len(rest) > 1 and (named := named_in(send(rest)) & set(rest)):
        rest = {name: value for name, value in rest.items() if name not in named}
    for name, value in rest.items():
        send({name: value})


@pytest.fixture
def long_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let bodies be so long that each of eighty fields has a long value."""
    monkeypatch.setattr(strict_json, "MAX_BYTES", 900_000)
    defaults = strict_json.parse.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "max_bytes", 900_000)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", WRITING)
def test_api_never_fails_on_a_field(
    world: World, document: Any, long_bodies: None, name: str
) -> None:
    case, (method, path) = CASES[name], name.split(" ")
    for key, value in case.path(world).items():
        path = path.replace("{" + key + "}", str(value))
    client, alice = APIClient(), user_for_key(world.keys["alice"])

    def send(texts: Mapping[str, str]) -> Any:
        body = json.dumps({**case.body(world), **dict.fromkeys(texts)})
        for field, text in texts.items():
            body = body.replace(f'"{field}": null', f'"{field}": {text}')
        client.force_authenticate(copy(alice))  # keys are tested elsewhere
        with transaction.atomic():
            answer = getattr(client, method.lower())
            response = answer(path, body.encode(), content_type="application/json")
            assert response.status_code < 500, (texts, response.content)
            check_constraints()
            transaction.set_rollback(True)
        return response

    fields = fields_of(document, name)
    for text in MALFORMED if fields else ():
        send_each(send, dict.fromkeys(fields, text))
    send({f"unknown_{number}": text for number, text in enumerate(MALFORMED)})
    for text in UNREADABLE:  # see the next test
        response = send(dict.fromkeys(fields or ["unknown"], text))
        is_refused = response.status_code == 403  # an operator's: nothing is read
        assert not fields or is_refused or len(named_in(response) & set(fields)) == 1


def test_parser_refuses_texts_that_cannot_be_stored_in_any_field(document: Any) -> None:
    """So it is enough that each operation above answers one such body as the parser does."""
    fields = {field for name in WRITING for field in fields_of(document, name)}
    assert len(fields) > 100
    for field in fields:
        for text in UNREADABLE:
            with pytest.raises(InvalidInputError) as refusal:
                StrictJSONParser().parse(BytesIO(f'{{"a": 1, "{field}": {text}}}'.encode()))
            assert refusal.value.field.split(".")[0] == field


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", GETTING)
def test_api_never_fails_on_a_filter(world: World, document: Any, name: str) -> None:
    path = name.split(" ")[1]
    client = world.client("alice")

    def send(query: Mapping[str, str]) -> Any:
        with transaction.atomic():
            response = client.get(path, query)
            assert response.status_code < 500, (query, response.content)
            transaction.set_rollback(True)
        return response

    parameters = [one["name"] for one in document["paths"][path]["get"].get("parameters", [])]
    for value in FILTERS if parameters else ():
        send_each(send, dict.fromkeys(parameters, value))
    assert call(world, "alice", name, CASES[name]).status_code == 200


def check_constraints() -> None:
    """Check deferred foreign keys now, as a commit would."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
