"""The header that makes a repeated API request safe."""

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from common.errors import InvalidInputError
from common.reason_codes import Code

HEADER = "Idempotency-Key"
LONGEST = 90
REPEATABLE = OpenApiParameter(
    HEADER,
    str,
    OpenApiParameter.HEADER,
    description="Your own id of the request: a repetition with it does nothing and returns what "
    "the first one did.",
)


def idempotency_key(request: Request) -> str:
    """Return `key:` and the header's value; '' without the header. Raises InvalidInputError."""
    key = request.headers.get(HEADER, "")
    if len(key) > LONGEST or not key.isascii() or not key.isprintable():
        detail = f"{HEADER} must be at most {LONGEST} printable ASCII characters."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field=HEADER)
    return f"key:{key}" if key else ""
