"""What the pages of the API reference show, read from the OpenAPI schema. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from api.openapi import SCOPE_OF_KEY
from api.schema import operations

Schema = Mapping[str, Any]
DEEPEST = 2  # fields of fields; what lies deeper is in the example
SUCCESS = ("200", "201", "202", "204")


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a field of a body. place: path, query, header; empty for a body's."""

    name: str
    type: str
    description: str
    is_required: bool
    place: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of an operation. example: JSON; empty: none."""

    status: str
    description: str
    example: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation. scope: that an API key needs; empty: it needs no key.

    is_signed: whether a key or a session is sent. content_types: of the body; none: it has no body.
    """

    id: str
    method: str
    path: str
    summary: str
    description: str
    scope: str
    parameters: tuple[Field, ...]
    body: tuple[Field, ...]
    body_example: str
    answer: tuple[Field, ...]
    answers: tuple[Answer, ...]
    is_signed: bool
    content_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The operations on one kind of object."""

    name: str
    description: str
    operations: tuple[Operation, ...]


def groups_of(schema: Schema) -> dict[str, Group]:
    """Return the groups by their names, in the schema's order."""
    found: dict[str, list[Operation]] = {}
    for path, method, described in operations(dict(schema)):
        for tag in described.get("tags", ()):
            found.setdefault(tag, []).append(_operation(schema, path, method, described))
    sentences = {tag["name"]: tag.get("description", "") for tag in schema.get("tags", ())}
    names = [*sentences, *(name for name in found if name not in sentences)]
    return {
        name: Group(name, sentences.get(name, ""), tuple(found[name]))
        for name in names
        if name in found
    }


def _operation(schema: Schema, path: str, method: str, described: Schema) -> Operation:
    content = _json_of(described.get("requestBody", {}))
    answers = tuple(
        _answer(schema, status, answer) for status, answer in described["responses"].items()
    )
    given: Schema = next(
        (answer for status, answer in described["responses"].items() if status in SUCCESS), {}
    )
    text, _, scope = described.get("description", "").partition(SCOPE_OF_KEY)
    return Operation(
        id=described["operationId"],
        method=method.upper(),
        path=path,
        summary=described.get("summary", ""),
        description=text.strip(),
        scope=scope.strip("`."),
        parameters=tuple(map(_parameter, described.get("parameters", ()))),
        body=tuple(_fields(schema, content.get("schema", {}), writes=True)),
        body_example=_example(content),
        answer=tuple(_fields(schema, _json_of(given).get("schema", {}), writes=False)),
        answers=answers,
        is_signed=bool(described.get("security")),
        content_types=tuple(described.get("requestBody", {}).get("content", ())),
    )


def _json_of(described: Schema) -> Schema:
    content: Schema = described.get("content", {}).get("application/json", {})
    return content


def _parameter(described: Schema) -> Field:
    schema = described.get("schema", {})
    return Field(
        described["name"], _type(schema), described.get("description", ""),
        bool(described.get("required")), described["in"], _values(schema),
    )  # fmt: skip


def _answer(schema: Schema, status: str, described: Schema) -> Answer:
    whole = _resolved(schema, described)
    return Answer(status, whole.get("description", ""), _example(_json_of(whole)))


def _example(content: Schema) -> str:
    examples = content.get("examples", {})
    if not examples:
        return ""
    value = next(iter(examples.values())).get("value")
    return json.dumps(value, indent=2, ensure_ascii=False)


def _resolved(schema: Schema, described: Schema) -> Schema:
    """Return what a reference names, or the description itself."""
    if len(all_of := described.get("allOf", ())) == 1:
        return {
            **_resolved(schema, all_of[0]),
            **{k: described[k] for k in described if k != "allOf"},
        }
    name = described.get("$ref")
    if name is None:
        return described
    found: Any = schema
    for part in name.removeprefix("#/").split("/"):
        found = found[part]
    return {**found, **{key: value for key, value in described.items() if key != "$ref"}}


def _fields(
    schema: Schema, described: Schema, *, writes: bool, before: str = "", depth: int = 0
) -> Iterator[Field]:
    """Yield the fields of an object, and of a list's objects. writes: only those that are sent."""
    whole = _resolved(schema, described)
    if "items" in whole:
        yield from _fields(schema, whole["items"], writes=writes, before=before, depth=depth)
        return
    required = whole.get("required", ())
    for name, inner in whole.get("properties", {}).items():
        field = _resolved(schema, inner)
        if (writes and field.get("readOnly")) or (not writes and field.get("writeOnly")):
            continue
        yield Field(
            before + name, _type(field), field.get("description", ""), name in required,
            values=_values(field),
        )  # fmt: skip
        if depth < DEEPEST:
            mark = f"{before}{name}[]." if "items" in field else f"{before}{name}."
            yield from _fields(schema, field, writes=writes, before=mark, depth=depth + 1)


def _type(described: Schema) -> str:
    """Return a field's type in words: `decimal`, `integer or null`, `list of strings`."""
    kinds = described.get("type", "")
    named = [kinds] if isinstance(kinds, str) else list(kinds)
    for key in ("oneOf", "anyOf"):
        named += [_type(one) for one in described.get(key, ())]
    words = [described.get("format") or kind if kind == "string" else kind for kind in named]
    if "array" in words and "items" in described:
        words[words.index("array")] = f"list of {_type(described['items']) or 'object'}"
    return " or ".join(dict.fromkeys(word for word in words if word))


def _values(described: Schema) -> tuple[str, ...]:
    return tuple(str(value) for value in described.get("enum", ()) if value not in (None, ""))
