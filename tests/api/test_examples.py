"""Each operation has examples; they conform to the schema, and those of requests really work."""

import json
import os
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from api import reference
from events import push_keys
from tests.api.conftest import AsWeb
from tests.api.example_calls import NOT_SENT, address_of, cases, live, send, settled
from tests.api.factories import World
from tests.api.schemas import faults, operations
from tests.matrix import WALK_TIME, Cell, Walk

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


def test_answer_of_another_type_or_format_is_found() -> None:
    """Deep in a component that others refer to."""
    [schema] = json_schemas(OPERATIONS["list_orders"]).values()
    [page] = deepcopy(reference.responses()["list_orders"]).values()
    assert faults(page, schema) == []
    page["results"][0]["created_at"] = "yesterday"
    assert "results/0/created_at" in faults(page, schema)[0]
    page["results"][0] |= {"created_at": None, "symbol": 5}
    assert len(faults(page, schema)) >= 2


def test_examples_are_served_with_the_schema() -> None:
    for name in BODIES:
        content = OPERATIONS[name]["requestBody"]["content"]["application/json"]
        assert content["examples"]["example"]["value"] == reference.requests()[name]
    for name, answers in reference.responses().items():
        for status, value in answers.items():
            content = OPERATIONS[name]["responses"][status]["content"]["application/json"]
            assert content["examples"]["example"]["value"] == value


@WALK_TIME
def test_examples_work_and_their_answers_conform(world: World, as_web: AsWeb) -> None:
    with Walk() as walk:
        for name in walk.each(name for name in OPERATIONS if name not in NOT_SENT):
            with walk.cell(name) as cell:
                mine = deepcopy(world)  # the objects change with their rows
                path, body = address_of(mine, name), live(reference.requests().get(name), mine)
                with as_web():
                    answer = send(mine, name, path, body)
                if name == "delete_position_trailing":
                    cell.expect(409, answer.status_code)  # its stop does not trail
                else:
                    expect_conforming(cell, name, answer)


def expect_conforming(cell: Cell, name: str, answer: Any) -> None:
    """Expect an answer of the schema that is no error; record it."""
    shown = b"" if answer.streaming else answer.content
    status, schemas = str(answer.status_code), json_schemas(OPERATIONS[name])
    cell.expect("2", status[0], f"answer {shown[:200]!r}" * (status[0] != "2"))
    cell.expect_one(OPERATIONS[name]["responses"], status)
    if status in schemas:
        data = json.loads(shown)
        cell.expect([], faults(data, schemas[status]), "faults")
        RECORDED[name] = {status: settled(data)}


def test_every_example_has_a_case() -> None:
    assert set(cases()) == set(OPERATIONS)
