"""The published schemas and examples are those of the classes."""

import json

import jsonschema
import pytest
from django.core.management import call_command

from buses.catalogue import CATALOGUE, EventData, type_of
from buses.examples import example_of
from buses.management.commands import event_schemas
from tests.buses.schemas import FOLDER, check, schema


def test_published_schemas_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("event_schemas", "--check")


def test_changed_schema_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(event_schemas, "files", lambda: {"README.md": ""})
    with pytest.raises(SystemExit):
        call_command("event_schemas", "--check")


@pytest.mark.parametrize("event", CATALOGUE, ids=type_of)
def test_example_follows_its_schema(event: type[EventData]) -> None:
    check([example_of(event)])
    example = json.loads((FOLDER / f"{event.type}.v{event.version}.example.json").read_text())
    del example["data"][next(iter(example["data"]))]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(example, schema(type_of(event)))
