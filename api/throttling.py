"""How many requests a minute; without Redis nothing is held back."""

from typing import TYPE_CHECKING

from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from signals.rate import seconds_to_wait
from users.attempt_limits import client_address

if TYPE_CHECKING:  # views read the settings, which name this module
    from rest_framework.views import APIView


class PerMinute(BaseThrottle):
    """Counts callers; subclasses say who they are and how many requests they have."""

    limit = 0

    def caller(self, request: Request, view: "APIView") -> str | None:
        """Name whom to count; None: nobody."""
        raise NotImplementedError

    def allow_request(self, request: Request, view: "APIView") -> bool:
        caller = self.caller(request, view)
        self._wait = seconds_to_wait(caller, limit=self.limit) if caller else 0
        return self._wait == 0

    def wait(self) -> float | None:
        return self._wait


UNKNOWN_A_MINUTE = 60


def retry_after_unknown(request: HttpRequest) -> int:
    """Count one more call whose key or token was wrong or missing; return 0, or after how many
    seconds its address may be answered again. Good keys and tokens of that address go on."""
    return seconds_to_wait(f"unknown-from:{client_address(request)}", limit=UNKNOWN_A_MINUTE)


class UserThrottle(PerMinute):
    """Each user, by whatever keys and browsers."""

    limit = 1200

    def caller(self, request: Request, view: "APIView") -> str | None:
        return f"user:{request.user.pk}" if request.user.is_authenticated else None


class AnonymousThrottle(PerMinute):
    """Each address of those who did not say who they are."""

    limit = 60

    def caller(self, request: Request, view: "APIView") -> str | None:
        return None if request.user.is_authenticated else f"address:{client_address(request)}"


class AlertThrottle(PerMinute):
    """Each address that posts alerts; every feed has a limit of its own besides."""

    limit = 600

    def caller(self, request: Request, view: "APIView") -> str | None:
        return f"alerts-from:{client_address(request)}"
