"""Each operation has examples; they conform to the schema, and those of requests really work."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from api import reference
from events import push_keys
from tests.api.conftest import AsWeb
from tests.api.example_calls import NOT_SENT, address_of, cases, live, send, settled
from tests.api.factories import World
from tests.api.schemas import faults, operations
from tests.sampling import often

OPERATIONS = operations()
BODIES = [name for name, operation in OPERATIONS.items() if "requestBody" in operation]
RECORDED: dict[str, dict[str, Any]] = {}


def json_schemas(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the schema of each answer in JSON that is no error, by status."""
    return {
        status: answer["content"]["application/json"]["schema"]
        for status, answer in operation["responses"].items()
        if "application/json" in answer.get("content", {}) and status.startswith("2")
    }


@pytest.fixture(scope="module", autouse=True)
def record() -> Iterator[None]:
    """Write the answers into the examples if RECORD_EXAMPLES is set."""
    yield
    if os.environ.get("RECORD_EXAMPLES"):
        for name, other in NOT_SENT.items():
            RECORDED[name] = RECORDED[other]
        text = json.dumps(RECORDED, indent=1, ensure_ascii=False, sort_keys=True)
        (reference.FOLDER / "responses.json").write_text(text + "\n")


@pytest.fixture(autouse=True)
def push_key(settings: Any) -> None:
    """Let browsers subscribe to push messages."""
    private = push_keys.new_private_key()
    settings.FILLCAST_PUSH_PRIVATE_KEYS = (private,)
    settings.FILLCAST_PUSH_PUBLIC_KEY = push_keys.public_key_of(private)


def test_every_operation_has_examples() -> None:
    assert sorted(reference.requests()) == sorted(BODIES)
    wanted = {name for name, operation in OPERATIONS.items() if json_schemas(operation)}
    assert set(reference.responses()) == wanted
    for name, answers in reference.responses().items():
        assert set(answers) & set(json_schemas(OPERATIONS[name])), name


def test_examples_conform_to_the_schema() -> None:
    found = {}
    for name in BODIES:
        for kind, content in OPERATIONS[name]["requestBody"]["content"].items():
            if kind == "application/json":
                found[name] = faults(reference.requests()[name], content["schema"])
    for name, answers in reference.responses().items():
        for status, value in answers.items():
            found[f"{name} {status}"] = faults(value, json_schemas(OPERATIONS[name])[status])
    assert not {name: wrong for name, wrong in found.items() if wrong}


def test_examples_are_served_with_the_schema() -> None:
    for name in BODIES:
        content = OPERATIONS[name]["requestBody"]["content"]["application/json"]
        assert content["examples"]["example"]["value"] == reference.requests()[name]
    for name, answers in reference.responses().items():
        for status, value in answers.items():
            content = OPERATIONS[name]["responses"][status]["content"]["application/json"]
            assert content["examples"]["example"]["value"] == value


SENT = [name for name in OPERATIONS if name not in NOT_SENT]
STEP = 1 if os.environ.get("RECORD_EXAMPLES") else 5  # else the others would be lost


@pytest.mark.parametrize("name", often(SENT, every=STEP))
def test_example_works_and_its_answer_conforms(world: World, as_web: AsWeb, name: str) -> None:
    path, body = address_of(world, name), live(reference.requests().get(name), world)
    with as_web():
        answer = send(world, name, path, body)
    shown = b"" if answer.streaming else answer.content
    if name == "delete_position_trailing":
        assert answer.status_code == 409  # its stop does not trail
        return
    assert 200 <= answer.status_code < 300, shown
    status, schemas = str(answer.status_code), json_schemas(OPERATIONS[name])
    assert status in OPERATIONS[name]["responses"]
    if status in schemas:
        data = json.loads(shown)
        assert faults(data, schemas[status]) == []
        RECORDED[name] = {status: settled(data)}


def test_every_example_has_a_case() -> None:
    assert set(cases()) == set(OPERATIONS)
