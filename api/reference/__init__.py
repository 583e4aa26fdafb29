"""What people read in the OpenAPI schema: groups, meanings of fields, examples.

All is written by hand, except `responses.json`: what the requests were answered with, recorded by
`RECORD_EXAMPLES=1 make test T=tests/api/test_examples.py`.
"""

import json
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

LOCAL_TIME = r"^\d\d:\d\d(:\d\d(\.\d{1,6})?)?$"
FOLDER = Path(__file__).parent


def describe(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add groups, meanings and examples, in the words of OpenAPI 3.1. A hook of drf-spectacular."""
    _to_json_schema(result)
    used = set()
    for operation in _operations(result):
        used.update(operation["tags"])
        _describe_parameters(operation)
        _add_examples(operation)
    result["tags"] = [
        {"name": name, "description": groups().get(name, "")} for name in sorted(used)
    ]
    for name, schema in result["components"]["schemas"].items():
        for field, properties in schema.get("properties", {}).items():
            if not properties.get("description"):
                properties |= _meaning(f"{name}.{field}", field)
    return result


@cache
def groups() -> dict[str, str]:
    """Return what each group of operations is about."""
    return tomllib.loads((FOLDER / "tags.toml").read_text())


@cache
def meanings() -> dict[str, str]:
    """Return the meanings of fields by name, by "Component.field" and "parameter.name"."""
    return tomllib.loads((FOLDER / "fields.toml").read_text())


@cache
def requests() -> dict[str, Any]:
    """Return an example of each operation's body."""
    found: dict[str, Any] = json.loads((FOLDER / "requests.json").read_text())
    return found


@cache
def responses() -> dict[str, dict[str, Any]]:
    """Return an example of each operation's answer, by status."""
    found: dict[str, dict[str, Any]] = json.loads((FOLDER / "responses.json").read_text())
    return found


def _operations(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in schema["paths"].values():
        yield from methods.values()


def _meaning(*keys: str) -> dict[str, str]:
    found = next((meanings()[key] for key in keys if key in meanings()), "")
    return {"description": found} if found else {}


def _describe_parameters(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        if not parameter.get("description"):
            name = parameter["name"]
            parameter |= _meaning(f"parameter.{name}")


def _add_examples(operation: dict[str, Any]) -> None:
    name = operation["operationId"]
    if name in requests() and "requestBody" in operation:
        _show(operation["requestBody"]["content"], requests()[name])
    for status, value in responses().get(name, {}).items():
        if "content" in operation["responses"].get(status, {}):
            _show(operation["responses"][status]["content"], value)


def _show(content: dict[str, Any], value: Any) -> None:
    for media_type, shown in content.items():
        if media_type.endswith("json") != isinstance(value, str):
            shown.setdefault("examples", {"example": {"value": value}})


def _to_json_schema(node: Any) -> None:
    """Replace the words of OpenAPI 3.0 that some descriptions still have: nullable, example."""
    if isinstance(node, list):
        for inner in node:
            _to_json_schema(inner)
    elif isinstance(node, dict):
        if node.pop("nullable", False) is True:
            node["type"] = [node["type"], "null"]
        if node.get("format") == "time":  # in JSON Schema a time has an offset; ours are local
            node |= {"format": "local-time", "pattern": LOCAL_TIME}
        if "example" in node and ("type" in node or "$ref" in node):
            node["examples"] = [node.pop("example")]
        for inner in list(node.values()):
            _to_json_schema(inner)
