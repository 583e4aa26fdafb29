"""The header that makes a repeated API request safe."""

from hashlib import sha256

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from common.errors import InvalidInputError
from common.reason_codes import Code

HEADER = "Idempotency-Key"
LONGEST = 255
_COLUMN = 90  # what the columns that keep `key:…` hold


def key_parameter(description: str) -> OpenApiParameter:
    """Return the header in the OpenAPI schema. description: what a repetition gets."""
    of_key = {"type": "string", "maxLength": LONGEST, "pattern": "^[ -~]*$"}
    return OpenApiParameter(HEADER, of_key, OpenApiParameter.HEADER, description=description)


REPEATABLE = key_parameter(
    "Your own id of the request: a repetition with it does nothing and returns what the first one"
    " did."
)


def read_key(request: Request) -> str:
    """Return the header's value; '' without the header. Raises InvalidInputError."""
    key: str = request.headers.get(HEADER, "")
    if len(key) > LONGEST or not key.isascii() or not key.isprintable():
        detail = f"{HEADER} must be at most {LONGEST} printable ASCII characters."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field=HEADER)
    return key


def idempotency_key(request: Request) -> str:
    """Return `key:` and the header's value, a long one as its hash; '' without the header.

    For operations that recognise repetitions themselves. Raises InvalidInputError.
    """
    key = read_key(request)
    if len(key) > _COLUMN:
        key = f"sha256:{sha256(key.encode()).hexdigest()}"
    return f"key:{key}" if key else ""
