"""Additions to the OpenAPI schema: how API keys are sent, and problems as errors."""

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


def add_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Document problem details as the errors of every operation. A hook of drf-spectacular."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    response = {
        "description": "A problem (RFC 9457).",
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }
    for operations in result["paths"].values():
        for operation in operations.values():
            operation["responses"]["default"] = response
    return result
