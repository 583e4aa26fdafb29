"""The headers and parameters that operations have in common, in the OpenAPI schema."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter

from common.web.conditional import READING, takes_if_match
from common.web.idempotency import HEADER, REPEATABLE, key_parameter
from common.web.repeatable import keeps_answer, takes_key
from common.web.sparse_fields import PARAMETER, SparseFields

KEPT = key_parameter(
    "Your own id of the request. For 24 hours a repetition with the same contents does"
    " nothing and gets the first answer, with `Idempotency-Replayed: true`; other contents: 409."
)
SHOWN_ONCE = key_parameter(
    "Your own id of the request. For 24 hours a repetition does nothing: its answer is"
    " 409 `SECRET_SHOWN_ONCE`, since the secret is not stored."
)
IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="The ETag of the object as you read it. 412 `OBJECT_CHANGED` if it has changed.",
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    str,
    OpenApiParameter.HEADER,
    description="The ETag of the answer that you have. 304 if it is still the same.",
)
FIELDS = OpenApiParameter(
    PARAMETER,
    str,
    description="Return only these fields of each object: names with commas between them."
    " The others are then missing, also where the schema requires them.",
)


def _header(text: str, **schema: Any) -> dict[str, Any]:
    return {"description": text, "schema": {"type": "string", **schema}}


HEADERS = {
    "ETag": _header(
        "Names this answer: for `If-None-Match`, and of an object for `If-Match` too.",
        examples=['"5f0c9d114c529a5e3f1f.0b7f2d5e8d0a4c529a5e"'],
    ),
    "RateLimit": _header(
        "The scope, the requests that are left (r) and the seconds until all are again (t).",
        examples=['"read";r=1187;t=41'],
    ),
    "RateLimit-Policy": _header(
        "The scope, and how many requests (q) it allows in a window of so many seconds (w).",
        examples=['"read";q=1200;w=60'],
    ),
    "Idempotency-Replayed": _header(
        "A repetition: nothing was done, this is the first answer.", enum=["true"]
    ),
}
"""The headers of answers, by their names in the schema's components."""


def shared_parameters(view: Any, method: str, path: str) -> list[OpenApiParameter]:
    """Return the parameters that an operation has beside its own."""
    if method in READING:
        if not isinstance(view, SparseFields):
            return []
        return [FIELDS] if getattr(view, "is_only_streamed", False) else [FIELDS, IF_NONE_MATCH]
    found = [IF_MATCH] if takes_if_match(view, path.count("{")) else []
    if method == "POST" and keeps_answer(view):
        found.append(SHOWN_ONCE if view.action in view.shown_once else KEPT)
    elif method == "POST" and takes_key(view):
        found.append(REPEATABLE)
    return found


def add_headers(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Document 304 where If-None-Match is taken, and the headers of answers. A hook.."""
    result["components"]["headers"] = HEADERS
    for operations in result["paths"].values():
        for operation in operations.values():
            names = {one["name"]: one for one in operation.get("parameters", ())}
            if IF_NONE_MATCH.name in names:
                text = "You have this answer already."
                operation["responses"]["304"] = {"description": text}
            for status, response in operation["responses"].items():
                if shown := _shown_with(status, operation, names):
                    response["headers"] = response.get("headers", {}) | {
                        name: {"$ref": f"#/components/headers/{name}"} for name in shown
                    }
    return result


def _shown_with(status: str, operation: dict[str, Any], parameters: dict[str, Any]) -> list[str]:
    """Return the headers that an answer which is no refusal may have."""
    if not status.startswith(("2", "3")) or not operation.get("security"):
        return []
    shown = ["RateLimit", "RateLimit-Policy"]
    if status in ("200", "304") and {IF_NONE_MATCH.name, IF_MATCH.name} & set(parameters):
        shown.append("ETag")
    key = parameters.get(HEADER, {})
    if status != "304" and key.get("description") == KEPT.description:
        shown.append("Idempotency-Replayed")
    return shown
