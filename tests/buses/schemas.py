"""Check what a sink is given against the published schemas."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

from buses.envelope import Envelope

FOLDER = Path(__file__).parents[2] / "docs" / "events"


@cache
def schema(name: str) -> dict[str, Any]:
    """Return the schema of a type such as fillcast.fill.v1, which allows no other field."""
    found: dict[str, Any] = json.loads(
        (FOLDER / f"{name.removeprefix('fillcast.')}.schema.json").read_text()
    )
    found["additionalProperties"] = found["properties"]["data"]["additionalProperties"] = False
    return found


def check(events: Sequence[Envelope]) -> None:
    """Fail if an event does not follow its schema."""
    for event in events:
        check_json(json.loads(event.to_json()))


def check_json(document: dict[str, Any]) -> None:
    """Fail if an event as a bus carries it does not follow its schema."""
    _validator(document["type"]).validate(document)


@cache
def _validator(name: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(schema(name), validate_formats=True)
