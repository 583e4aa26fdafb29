"""The JSON schema of an event's class, and of its envelope."""

from __future__ import annotations

from dataclasses import fields
from datetime import date, datetime
from decimal import Decimal
from inspect import cleandoc
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from buses.catalogue import EventData, type_of

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SIMPLE: dict[Any, dict[str, str]] = {
    int: {"type": "integer"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    Decimal: {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
}


def schema_of(event: type[EventData]) -> dict[str, Any]:
    """Return the schema of a whole event as it is on a bus.

    Fields that it does not name are allowed: a later program may add some within a version.
    """
    text = {"type": "string"}
    return {
        "$schema": DRAFT,
        "$id": f"urn:fillcast:event:{event.type}:v{event.version}",
        "title": type_of(event),
        "description": _description(event),
        "type": "object",
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "minLength": 1},
            "source": {"type": "string", "pattern": "^/fillcast/"},
            "type": {"const": type_of(event)},
            "time": {"type": "string", "format": "date-time"},
            "subject": text,
            "datacontenttype": {"const": "application/json"},
            "accountid": text,
            "tenantid": {"type": "string", "pattern": "^[0-9]+$"},
            "data": _data(event),
        },
        "required": [
            "specversion", "id", "source", "type", "time", "subject", "datacontenttype", "data",
        ],
    }  # fmt: skip


def _description(event: type[EventData]) -> str:
    own = cleandoc(event.__doc__ or "")
    base = event.__mro__[1].__doc__
    inherited = cleandoc(base) if base and event.__mro__[1] is not object else ""
    return f"{own}\n\n{inherited}".strip()


def _data(event: type[EventData]) -> dict[str, Any]:
    hints = get_type_hints(event)
    names = [field.name for field in fields(event)]
    properties = {name: _schema(hints[name]) for name in names}
    return {"type": "object", "properties": properties, "required": names}


def _schema(hint: Any) -> dict[str, Any]:
    """Return the schema of a field's type. Raises TypeError for one that it does not know."""
    if hint in _SIMPLE:
        return dict(_SIMPLE[hint])
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, UnionType) and NoneType in arguments and len(arguments) == 2:
        inner = _schema(next(one for one in arguments if one is not NoneType))
        if "enum" in inner:
            return {"enum": [*inner["enum"], None]}
        return {**inner, "type": [inner["type"], "null"]}
    if origin is dict:
        return {"type": "object"}
    raise TypeError(f"An event's field cannot be {hint!r}.")
