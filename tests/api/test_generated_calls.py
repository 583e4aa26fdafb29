"""Calls that the OpenAPI schema allows, and some that it does not, by schemathesis.

No answer may be a 5xx, and each must be one that the schema describes: status, content type,
headers and body. A call names existing objects where it can, so that it gets past "not found", and
is made by someone who may make it. The calls are the same in each run; `make schemathesis` makes
many more, and others each time.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.core.cache import cache
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api import reference
from tests.api.conftest import AsWeb
from tests.api.example_calls import cases, live
from tests.api.factories import World
from tests.api.schemas import faults, schema

CHECKS: list[Any] = [
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_headers_conformance, response_schema_conformance,
]  # fmt: skip
OF_WHOLE_ANSWERS: Any = response_schema_conformance
LONG = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "0"))
SETTINGS = hypothesis.settings(
    max_examples=LONG or 8,
    derandomize=not LONG,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[hypothesis.Phase.generate],
)
API = schemathesis.openapi.from_dict(schema())
API.app = get_wsgi_application()
FOUND: list[Any] = list(API.get_all_operations())
OPERATIONS = {one.ok().definition.raw["operationId"]: one.ok() for one in FOUND}


def calls(operation: Any, paths: dict[str, str], body: Any) -> st.SearchStrategy[Any]:
    """Return calls of an operation: as generated, or about objects that exist."""
    found = []
    for mode in GenerationMode:
        found.append(operation.as_strategy(generation_mode=mode))
        if paths:
            found.append(operation.as_strategy(generation_mode=mode, path_parameters=paths))
    generated = st.one_of(found)
    if not isinstance(body, dict):
        return generated

    @st.composite
    def like_the_example(draw: Callable[..., Any]) -> Any:
        """A call whose body is the example's, but for some generated fields."""
        case = draw(generated)
        if isinstance(case.body, dict) and draw(st.booleans()):
            names = sorted(str(name) for name in case.body)
            kept = draw(st.sets(st.sampled_from(names), max_size=2)) if names else ()
            case.body = body | {name: case.body[name] for name in kept if name in case.body}
        return case

    return like_the_example()


@pytest.fixture(autouse=True)
def one_connection() -> Iterator[None]:
    """Keep the test's connection when a request ends, as Django's own test client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def isolated(as_web: AsWeb) -> Callable[..., Any]:
    """Return a function that makes a call as the web process does, and undoes it."""

    def call(case: Any, headers: dict[str, str]) -> Any:
        with transaction.atomic():
            cache.clear()
            with as_web():
                answer = case.call(headers=headers)
            transaction.set_rollback(True)
        return answer

    return call


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", OPERATIONS)
def test_answers_are_as_the_schema_describes_them(
    world: World, isolated: Callable[..., Any], name: str
) -> None:
    operation, (_, case_of) = OPERATIONS[name], cases()[name]
    paths = {key: str(value) for key, value in case_of.path(world).items() if key in path_of(name)}
    body = live(reference.requests().get(name), world)
    caller = "olga" if case_of.kind == "operator" else "alice"
    headers = {"Authorization": f"Bearer {world.keys[caller]}"}

    @SETTINGS
    @given(calls(operation, paths, body))
    def run(case: Any) -> None:
        answer = isolated(case, headers)
        if "fields" not in (case.query or {}) or answer.status_code != 200:
            case.validate_response(answer, checks=CHECKS)
            return
        case.validate_response(answer, checks=[c for c in CHECKS if c is not OF_WHOLE_ANSWERS])
        assert faults_of_some_fields(name, answer) == []

    run()


def faults_of_some_fields(name: str, answer: Any) -> list[str]:
    """Return the faults of an answer to `?fields=`, which lacks what its schema requires."""
    described = OPERATIONS[name].definition.raw["responses"]["200"]["content"]
    kind = answer.headers["content-type"][0].partition(";")[0]
    if kind != "application/json":
        return []
    found = faults(answer.json(), described[kind]["schema"])
    return [fault for fault in found if "is a required property" not in fault]


def path_of(name: str) -> str:
    path: str = OPERATIONS[name].path
    return path


def test_few_fields_of_an_answer_conform(world: World, isolated: Callable[..., Any]) -> None:
    case = OPERATIONS["list_channels"].Case(query={"fields": "id"})
    answer = isolated(case, {"Authorization": f"Bearer {world.keys['alice']}"})
    assert answer.json()["results"] == [{"id": world.channel.pk}]
    assert faults_of_some_fields("list_channels", answer) == []
