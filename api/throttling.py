"""Throttles: limits on requests per minute. Without Redis nothing is limited."""

from typing import TYPE_CHECKING

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from alerts.inbox.posts import ALERTS_PER_ADDRESS, alerts_from
from api.permissions import needed_by, scope_of
from common.operational.current import settings_now
from common.permissions import Scope
from signals.feeds.rate import Usage, count_call, seconds_to_wait
from users.sign_in.attempt_limits import client_address

if TYPE_CHECKING:  # views read the settings, which name this module
    from rest_framework.views import APIView

ANONYMOUS = "anonymous"


class PerMinute(BaseThrottle):
    """Limits requests per minute; subclasses define the caller and the limit."""

    limit = 0
    _usage: Usage | None = None

    def caller(self, request: Request, view: "APIView") -> str | None:
        """Return the key to count by; None: do not count."""
        raise NotImplementedError

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Count the request; return whether it is within the limit."""
        caller = self.caller(request, view)
        self._usage = count_call(caller, limit=self.limit) if caller else None
        return self._usage is None or not self._usage.is_over

    def wait(self) -> float | None:
        """Return the seconds until the next request is allowed."""
        return self._usage.resets_in if self._usage is not None else None


def rate_of(scope: str) -> int:
    """Return how many requests of a scope are allowed in a minute."""
    return int(getattr(settings_now().api_rates, scope))


def retry_after_unauthenticated(address: str) -> int:
    """Count a call with a wrong or missing key or token; return 0, or the seconds that its address
    (`client_address`) has to wait. Calls with valid keys and tokens from there are not affected."""
    return seconds_to_wait(f"unauthenticated-from:{address}", limit=rate_of(ANONYMOUS))


class ScopeThrottle(PerMinute):
    """Limits the requests of each scope: of a user, over all keys and browsers, or of an address
    without one. Its answers say how many are left."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Count the request, and keep for the answer what was counted."""
        self._scope = _scope(request, view)
        self.limit = rate_of(self._scope)
        is_allowed = super().allow_request(request, view)
        if self._usage is not None:
            request._request.rate_usage = (self._scope, self._usage)  # type: ignore[attr-defined]
        return is_allowed

    def caller(self, request: Request, view: "APIView") -> str | None:
        if self._scope == ANONYMOUS:
            return f"address:{client_address(request)}"
        return f"user:{request.user.pk}:{self._scope}"


def _scope(request: Request, view: "APIView") -> str:
    if not request.user.is_authenticated:
        return ANONYMOUS
    method = request.method or ""
    return (scope_of(method, needed_by(view, method)) or Scope.READ).value


class AlertThrottle(PerMinute):
    """Limits each address that reads what became of alerts, as one that posts them."""

    limit = ALERTS_PER_ADDRESS

    def caller(self, request: Request, view: "APIView") -> str | None:
        return (
            None if request.method == "POST" else alerts_from(request.META.get("REMOTE_ADDR", ""))
        )
