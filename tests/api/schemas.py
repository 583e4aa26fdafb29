"""The OpenAPI schema as tests read it."""

import copy
from functools import cache
from typing import Any

from jsonschema_rs import Draft202012Validator

from api.schema_view import kept_schema


def whole_schema() -> Any:
    """Return the schema that is served, which is made once in a process. Change nothing in it."""
    return kept_schema()


def schema() -> dict[str, Any]:
    """Return the schema that is served: a copy, which takes a tenth of a second."""
    return copy.deepcopy(kept_schema())


@cache
def operation_ids() -> dict[tuple[str, str], str]:
    """Return the id of each operation, by its method in small letters and its path."""
    return {
        (method, path): operation["operationId"]
        for path, methods in kept_schema()["paths"].items()
        for method, operation in methods.items()
    }


def operations() -> dict[str, dict[str, Any]]:
    """Return the description of each operation, by its id."""
    return {
        operation["operationId"]: operation
        for methods in kept_schema()["paths"].values()
        for operation in methods.values()
    }


def faults(value: Any, of: dict[str, Any]) -> list[str]:
    """Return what of a value does not conform to a schema of the document."""
    document = {"components": kept_schema()["components"], **of}
    validator = Draft202012Validator(document, validate_formats=True)
    return [
        f"{error.instance_path}: {error.message[:200]}" for error in validator.iter_errors(value)
    ]
