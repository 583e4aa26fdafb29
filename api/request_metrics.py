"""Counts and times the requests of this web process, for /metrics.

By area (portal, api, admin, hooks, other), method and class of status: an address or an id would
make a series for each. Alerts that are stored before Django sees them are counted in the inbox.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, Histogram

from common.clocks import machine_time

REGISTRY = CollectorRegistry()
AREAS = frozenset({"api", "admin", "hooks"})
NO_PAGES = frozenset({"healthz", "readyz", "metrics", "static"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_requests = Histogram(
    "fillcast_web_request_seconds",
    "Requests of this web process, by area, method and class of status.",
    ("area", "method", "status"),
    buckets=SECONDS,
    registry=REGISTRY,
)


def area_of(path: str) -> str:
    """Return what part of the site a path belongs to; pages of the portal have no common prefix."""
    first = path.split("/", 2)[1]
    if first in AREAS:
        return first
    return "other" if first in NO_PAGES else "portal"


class RequestMetricsMiddleware:
    """Adds each request to the figures, also one that fails."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        began, status = machine_time(), 500
        try:
            response = self.get_response(request)
            status = response.status_code
            return response
        finally:
            _requests.labels(
                area_of(request.path_info),
                request.method if request.method in METHODS else "other",
                f"{status // 100}xx",
            ).observe(machine_time() - began)
