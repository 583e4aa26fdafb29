"""Checks the query parameters of a request by what the schema says of them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from common.errors import InvalidInputError, raise_all
from common.reason_codes import Code

MOST_DIGITS = 18  # of a whole number that PostgreSQL can compare
YEARS = range(1970, 9001)  # of a day that can be shown in every time zone


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS):
        raise ValueError(text)
    return int(text)


def _day(text: str) -> date:
    day = date.fromisoformat(text)
    if day.year not in YEARS:
        raise ValueError(text)
    return day


_READ: Mapping[Any, tuple[Callable[[str], Any], str]] = {
    int: (_whole, "A whole number."),
    UUID: (UUID, "A UUID, such as an account's id."),
    date: (_day, "A day, such as 2026-05-02."),
}


def check_parameters(request: Request, parameters: Sequence[OpenApiParameter]) -> None:
    """Refuse values that cannot be read. Without it a mistyped filter would mean "all".

    Raises InvalidInputError FIELD_INVALID with every parameter that is at fault.
    """
    given = request.query_params
    raise_all(
        [
            InvalidInputError(Code.FIELD_INVALID, wrong, field=one.name)
            for one in parameters
            if one.location == OpenApiParameter.QUERY
            and (wrong := _fault(one, given.get(one.name, "")))
        ]
    )


def _fault(parameter: OpenApiParameter, text: str) -> str:
    """Return what is expected in place of a text; empty: it can be read, or nothing was given."""
    if "\0" in text:
        return "A text without the character NUL."
    if text and parameter.enum and text not in parameter.enum:
        return f"One of {', '.join(map(str, parameter.enum))}."
    read, expected = _READ.get(parameter.type, (str, ""))
    try:
        if text:
            read(text)
    except ValueError:
        return expected
    return ""
