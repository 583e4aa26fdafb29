"""Throttles: limits on requests per minute. Without Redis nothing is limited."""

from typing import TYPE_CHECKING

from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from signals.rate import seconds_to_wait
from users.attempt_limits import client_address

if TYPE_CHECKING:  # views read the settings, which name this module
    from rest_framework.views import APIView


class PerMinute(BaseThrottle):
    """Limits requests per minute; subclasses define the caller and the limit."""

    limit = 0

    def caller(self, request: Request, view: "APIView") -> str | None:
        """Return the key to count by; None: do not count."""
        raise NotImplementedError

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Count the request; return whether it is within the limit."""
        caller = self.caller(request, view)
        self._wait = seconds_to_wait(caller, limit=self.limit) if caller else 0
        return self._wait == 0

    def wait(self) -> float | None:
        """Return the seconds until the next request is allowed."""
        return self._wait


UNAUTHENTICATED_PER_MINUTE = 60  # from one address


def retry_after_unauthenticated(request: HttpRequest) -> int:
    """Count a call with a wrong or missing key or token; return 0, or the seconds that its address
    has to wait. Calls with valid keys and tokens from that address are not affected."""
    return seconds_to_wait(
        f"unauthenticated-from:{client_address(request)}", limit=UNAUTHENTICATED_PER_MINUTE
    )


class UserThrottle(PerMinute):
    """Limits each user, over all keys and browsers."""

    limit = 1200

    def caller(self, request: Request, view: "APIView") -> str | None:
        return f"user:{request.user.pk}" if request.user.is_authenticated else None


class AnonymousThrottle(PerMinute):
    """Limits each address of unauthenticated requests."""

    limit = UNAUTHENTICATED_PER_MINUTE

    def caller(self, request: Request, view: "APIView") -> str | None:
        return None if request.user.is_authenticated else f"address:{client_address(request)}"


class AlertThrottle(PerMinute):
    """Limits each address that posts alerts; each feed also has its own limit.

    High: TradingView sends the alerts of all its users from a few addresses.
    """

    limit = 60_000

    def caller(self, request: Request, view: "APIView") -> str | None:
        return f"alerts-from:{client_address(request)}"
