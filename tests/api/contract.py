"""What the schema of v1 promises to programs, and what of it a change would break.

The promise is docs/api.md, "What may change in v1": additions may come, and what is there stays
until the day that its deprecation names. `tests/api/contract.json` has what programs may rely
on. A release records what it adds: `python -m tests.api.contract`.
"""

import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("contract.json")
REMOVED_ON = re.compile(r"removed on (\d{4}-\d\d-\d\d)")
Contract = dict[str, Any]


def contract_of(schema: dict[str, Any]) -> Contract:
    """Return the operations with their parameters, bodies and answers, and all objects."""
    return {
        "operations": {
            f"{method.upper()} {path}": _operation(operation)
            for path, methods in schema["paths"].items()
            for method, operation in methods.items()
        },
        "objects": {
            name: _object(described) for name, described in schema["components"]["schemas"].items()
        },
    }


def _operation(operation: dict[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody", {})
    return {
        "id": operation["operationId"],
        "parameters": {
            f"{one['in']} {one['name']}": _type(one["schema"]) + "!" * bool(one.get("required"))
            for one in operation.get("parameters", ())
        },
        "body": _contents(body),
        "answers": {
            status: _contents(answer)
            for status, answer in operation["responses"].items()
            if status.startswith("2")
        },
        **_end_of(operation),
    }


def _contents(described: dict[str, Any]) -> dict[str, str]:
    return {
        kind: _type(one.get("schema", {})) for kind, one in described.get("content", {}).items()
    }


def _object(described: dict[str, Any]) -> dict[str, Any]:
    if "enum" in described:
        return {"values": described["enum"]}
    required = described.get("required", ())
    return {
        "fields": {
            name: {"type": _type(one), "required": name in required, **_end_of(one)}
            for name, one in described.get("properties", {}).items()
        }
    }


def _end_of(described: dict[str, Any]) -> dict[str, str]:
    """Return on which day a deprecated operation or field is removed."""
    found = REMOVED_ON.search(described.get("description", ""))
    return {"removed_on": found[1]} if described.get("deprecated") and found else {}


def _type(schema: dict[str, Any]) -> str:
    """Return a type in few words: `string`, `[OrderSerializer]`, `integer|null`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for kind in ("oneOf", "anyOf", "allOf"):
        if kind in schema:
            return "|".join(sorted(_type(one) for one in schema[kind]))
    kinds = schema.get("type", "any")
    names = sorted(kinds if isinstance(kinds, list) else [kinds])
    return "|".join(f"[{_type(schema['items'])}]" if one == "array" else one for one in names)


def broken(before: Contract, now: Contract, *, today: date) -> list[str]:
    """Return what a program may rely on by `before`, and does not have any more."""
    return [*_broken_operations(before, now, today), *_broken_objects(before, now, today)]


def _broken_operations(before: Contract, now: Contract, today: date) -> Iterator[str]:
    for name, old in before["operations"].items():
        new = now["operations"].get(name)
        if new is None:
            if not _has_ended(old, today):
                yield f"{name} is gone"
            continue
        if new["id"] != old["id"]:
            yield f"{name} is called {new['id']}, not {old['id']}"
        for parameter, kind in old["parameters"].items():
            there = new["parameters"].get(parameter)
            if there is None:
                yield f"{name} has no {parameter}"
            elif there not in (kind, kind.rstrip("!")):
                yield f"{name}: {parameter} is {there}, not {kind}"
        for parameter in set(new["parameters"]) - set(old["parameters"]):
            if new["parameters"][parameter].endswith("!"):
                yield f"{name} demands {parameter}"
        for part in ("body", *(f"answers.{status}" for status in old["answers"])):
            key, _, status = part.partition(".")
            was, there = (one[key].get(status, {}) if status else one[key] for one in (old, new))
            for kind, shown in was.items():
                if there.get(kind) != shown:
                    yield f"{name}: {part} as {kind} is {there.get(kind)}, not {shown}"


def _broken_objects(before: Contract, now: Contract, today: date) -> Iterator[str]:
    for name, old in before["objects"].items():
        new = now["objects"].get(name)
        if new is None:
            continue  # whatever named it is found above
        for value in old.get("values", ()):
            if value not in new.get("values", ()):
                yield f"{name} has no {value!r}"
        yield from _broken_fields(name, old.get("fields", {}), new.get("fields", {}), today)


def _broken_fields(
    name: str, old: dict[str, Any], new: dict[str, Any], today: date
) -> Iterator[str]:
    is_sent = name.endswith("Request")
    for field, was in old.items():
        there = new.get(field)
        if there is None:
            if not _has_ended(was, today):
                yield f"{name}.{field} is gone"
        elif there["type"] != was["type"]:
            yield f"{name}.{field} is {there['type']}, not {was['type']}"
        elif not is_sent and was["required"] and not there["required"]:
            yield f"{name}.{field} may be missing"
        elif is_sent and there["required"] and not was["required"]:
            yield f"{name}.{field} is demanded"
    for field in set(new) - set(old):
        if is_sent and new[field]["required"]:
            yield f"{name}.{field} is demanded"


def _has_ended(what: dict[str, Any], today: date) -> bool:
    return "removed_on" in what and date.fromisoformat(what["removed_on"]) <= today


def recorded() -> Contract:
    """Return what programs may rely on."""
    found: Contract = json.loads(PATH.read_text())
    return found


def record() -> None:
    """Write what the schema promises now."""
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from tests.api.schemas import schema

    text = json.dumps(contract_of(schema()), sort_keys=True, ensure_ascii=False)
    lines = re.sub(r'(\{|, )("(?:(?:GET|POST|PUT|PATCH|DELETE) |[A-Z]\w+": \{"(?:fields|values)))',
                   r"\1\n\2", text)  # fmt: skip
    PATH.write_text(f"{lines}\n")


if __name__ == "__main__":
    record()
