"""Security and cache headers of every response, unless its view has set them."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# unfold uses Alpine, which evaluates attributes, and inline styles. Nothing is loaded from other
# hosts, and pages contain no inline scripts.
CONSOLE = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
API_DOCS = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DENY_ALL = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""For responses that are not pages: a browser that opens one runs and loads nothing."""
POLICIES = (("/admin/", CONSOLE), ("/api/v1/docs/", API_DOCS), ("/api/", DENY_ALL),
            ("/hooks/", DENY_ALL))  # fmt: skip
UNCACHED_PATHS = ("/admin/", "/api/", "/hooks/")


class SecurityHeadersMiddleware:
    """Adds a Content-Security-Policy, and `Cache-Control: no-store` to responses with user data."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for prefix, policy in POLICIES:
            if request.path_info.startswith(prefix):
                response.headers.setdefault("Content-Security-Policy", policy)
                break
        if request.path_info.startswith(UNCACHED_PATHS) and "no-store" not in response.get(
            "Cache-Control", ""
        ):
            response["Cache-Control"] = "no-store"
        return response
