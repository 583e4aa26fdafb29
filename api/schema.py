"""Additions to the OpenAPI schema: how API keys are sent, and problems as errors."""

from collections.abc import Iterator
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "What went wrong (RFC 9457). `code` is stable; `errors` names single fields.",
    "required": [
        "type",
        "title",
        "status",
        "detail",
        "code",
        "hint",
        "help",
        "errors",
        "request_id",
    ],
    "properties": {
        "type": {"type": "string", "example": "urn:fillcast:problem:STOP_WRONG_SIDE"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "example": "STOP_WRONG_SIDE"},
        "hint": {"type": "string"},
        "help": {"type": "string", "format": "uri", "description": "The reason's page."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "field", "detail", "hint"],
                "properties": {
                    name: {"type": "string"} for name in ("code", "field", "detail", "hint")
                },
            },
        },
        "request_id": {"type": "string"},
        "numbers": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """`Authorization: Bearer <API key>`."""

    target_class = "api.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        """Return the OpenAPI security scheme."""
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key. It has scopes (read, trade, publish, operate); each"
            " operation names the one that it needs. Without it: 403 RIGHT_MISSING.",
        }


ERRORS = {
    400: "The input is wrong: `errors` names every field.",
    401: "There is no valid API key.",
    403: "The key's scope or the user's rights do not include this.",
    404: "It does not exist, or is not yours.",
    405: "This address does not have this method.",
    406: "There is no such representation.",
    409: "The current state does not allow it.",
    412: "It has changed since you read it.",
    413: "The body is larger than 16 KiB.",
    415: "The body must be JSON.",
    429: "Wait for the seconds in `Retry-After`.",
    503: "The database was busy or restarts; nothing was changed. Wait as `Retry-After` states.",
}


CONFLICTING_READS = {"get_signal_notional", "get_subscription_route"}
GUARDED_READS = {"get_alert_status"}  # from where its feed accepts alerts


def add_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Document problem details as the errors of every operation. A hook of drf-spectacular."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    components["responses"] = {f"Problem{status}": _response(status) for status in ERRORS}
    for _path, method, operation in operations(result):
        responses = operation["responses"]
        for status in errors_of(method, operation):
            responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
        operation["responses"] = dict(sorted(responses.items()))
    return result


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the path, the method in lower case and the description of each operation."""
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def errors_of(method: str, operation: dict[str, Any]) -> Iterator[int]:
    """Yield the statuses with which an operation may be refused."""
    places = {parameter["in"] for parameter in operation.get("parameters", ())}
    names = {parameter["name"].lower() for parameter in operation.get("parameters", ())}
    has_body = method in ("post", "put", "patch")
    if has_body or "query" in places:
        yield 400
    if operation.get("security"):
        yield 401
    is_guarded = operation["operationId"] in GUARDED_READS
    if operation.get("security") or has_body or is_guarded:  # an alert's feed may not be approved
        yield 403
    if "path" in places or has_body:  # a body may name what does not exist
        yield 404
    yield 406
    if method != "get" or operation["operationId"] in CONFLICTING_READS:
        yield 409
    if "if-match" in names:
        yield 412
    if has_body:
        yield from (413, 415)
    yield from (429, 503)


def _response(status: int) -> dict[str, Any]:
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    response: dict[str, Any] = {
        "description": ERRORS[status],
        "content": {"application/problem+json": problem},
    }
    if status in (429, 503):
        seconds = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
        response["headers"] = {"Retry-After": seconds}
    return response
