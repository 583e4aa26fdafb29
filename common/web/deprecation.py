"""Operations that will be removed: the headers Deprecation (RFC 9745) and Sunset (RFC 8594)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar

from django.utils.http import http_date
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

NOTICE = timedelta(days=180)
"""How long a deprecated operation or field of v1 works at least."""
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Deprecation:
    """since, removed_on: dates, UTC. instead: what to use, one sentence."""

    since: date
    removed_on: date
    instead: str

    def __post_init__(self) -> None:
        if self.removed_on - self.since < NOTICE:
            raise ValueError(
                f"{self.removed_on} is less than {NOTICE.days} days after {self.since}"
            )

    @property
    def headers(self) -> dict[str, str]:
        """The headers of each answer of the operation."""
        return {
            "Deprecation": f"@{_seconds(self.since)}",
            "Sunset": http_date(_seconds(self.removed_on)),
        }

    @property
    def sentence(self) -> str:
        """What the schema says about it."""
        return f"Deprecated since {self.since}; removed on {self.removed_on}. {self.instead}"


def deprecated(*, since: date, removed_on: date, instead: str) -> Callable[[F], F]:
    """Mark a method of a view as deprecated: the schema and the headers of its answers say so."""

    def mark(method: F) -> F:
        method.deprecation = Deprecation(since, removed_on, instead)  # type: ignore[attr-defined]
        return method

    return mark


def deprecation_of(view: Any, method: str) -> Deprecation | None:
    """Return the notice of the operation that a request reaches; None without one."""
    name = getattr(view, "action", None) or method.lower()
    found: Deprecation | None = getattr(getattr(view, name, None), "deprecation", None)
    return found


class Deprecating(APIView):
    """A view that announces the removal of its deprecated operations."""

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Response:
        """Add the headers of a deprecated operation, to refusals too."""
        final = super().finalize_response(request, response, *args, **kwargs)
        if (notice := deprecation_of(self, request.method or "")) is not None:
            for name, value in notice.headers.items():
                final[name] = value
        return final


def _seconds(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
