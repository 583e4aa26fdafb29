"""The headers RateLimit and RateLimit-Policy, and the refusal of one request too many."""

from typing import Any, NoReturn

from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

WINDOW = 60


class ThrottledError(exceptions.Throttled):
    """Too many requests of a scope. numbers: for machines."""

    def __init__(self, wait: float | None, detail: str, numbers: dict[str, Any]) -> None:
        super().__init__(wait)
        self.detail = exceptions.ErrorDetail(detail, "throttled")  # not DRF's own sentence
        self.numbers = numbers


class RateLimited(APIView):
    """A view whose answers say how many requests of its scope are left in this minute."""

    def throttled(self, request: Request, wait: float | None) -> NoReturn:
        """Refuse the request, with when to go on."""
        used = getattr(request._request, "rate_usage", None)
        if used is None or wait is None:
            raise exceptions.Throttled(wait)
        scope, usage = used
        detail = (
            f"At most {usage.limit} requests a minute of the scope {scope!r} are answered. Go on in"
            f" {wait:.0f} s."
        )
        raise ThrottledError(
            wait, detail, {"scope": scope, "limit": usage.limit, "wait": int(wait)}
        )

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Response:
        final = super().finalize_response(request, response, *args, **kwargs)
        if (used := getattr(getattr(request, "_request", None), "rate_usage", None)) is not None:
            scope, usage = used
            final["RateLimit-Policy"] = f'"{scope}";q={usage.limit};w={WINDOW}'
            final["RateLimit"] = f'"{scope}";r={usage.left};t={usage.resets_in}'
        return final
