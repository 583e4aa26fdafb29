"""JSON bodies, read strictly."""

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.parsers import BaseParser

from common.errors import InvalidInputError
from common.reason_codes import Code
from signals import strict_json


class StrictJSONParser(BaseParser):
    """Numbers keep their text, a key that stands twice is refused, 16 KiB are enough."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the body's object. Raises InvalidInputError BODY_TOO_LARGE, BODY_NOT_JSON,
        DUPLICATE_KEY, FIELD_INVALID (a text that cannot be stored)."""
        data = strict_json.parse(stream.read(strict_json.MAX_BYTES + 1))
        if not isinstance(data, dict):
            raise InvalidInputError(Code.BODY_NOT_JSON, "The body must be a JSON object: { … }.")
        twice = strict_json.first_duplicate(data)
        if twice is not None:
            raise InvalidInputError(
                Code.DUPLICATE_KEY, f"{twice[:60]!r} stands twice.", field=twice[:60]
            )
        unwritable = strict_json.first_unwritable(data)
        if unwritable is not None:
            detail = "It holds a NUL or half a letter."
            raise InvalidInputError(Code.FIELD_INVALID, detail, field=unwritable[:60])
        return data
