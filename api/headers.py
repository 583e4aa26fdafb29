"""The headers and parameters that operations have in common, in the OpenAPI schema."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter

from common.conditional import READING, takes_if_match
from common.idempotency import REPEATABLE, key_parameter
from common.repeatable import keeps_answer, takes_key
from common.sparse_fields import PARAMETER, SparseFields

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


def shared_parameters(view: Any, method: str, path: str) -> list[OpenApiParameter]:
    """Return the parameters that an operation has beside its own."""
    if method in READING:
        return [FIELDS, IF_NONE_MATCH] if isinstance(view, SparseFields) else []
    found = [IF_MATCH] if takes_if_match(view, path.count("{")) else []
    if method == "POST" and keeps_answer(view):
        found.append(SHOWN_ONCE if view.action in view.shown_once else KEPT)
    elif method == "POST" and takes_key(view):
        found.append(REPEATABLE)
    return found


def add_not_modified(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Document 304 where If-None-Match is taken. A hook of drf-spectacular."""
    for operations in result["paths"].values():
        for operation in operations.values():
            names = {one["name"] for one in operation.get("parameters", ())}
            if IF_NONE_MATCH.name in names:
                operation["responses"]["304"] = {"description": "You have this answer already."}
    return result
