"""The strict parser of JSON bodies."""

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.parsers import BaseParser

from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.reading import strict_json


class StrictJSONParser(BaseParser):
    """Keeps numbers as text, and rejects duplicate keys and more than 16 KiB."""

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
        duplicate = strict_json.first_duplicate(data)
        if duplicate is not None:
            name = duplicate[:60]
            raise InvalidInputError(Code.DUPLICATE_KEY, f"{name!r} is there twice.", field=name)
        unwritable = strict_json.first_unwritable(data)
        if unwritable is not None:
            detail = "It has a NUL character or half a surrogate pair."
            raise InvalidInputError(Code.FIELD_INVALID, detail, field=unwritable[:60])
        return data
