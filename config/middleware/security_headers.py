"""What every answer says to browsers and caches, unless its view has said it already."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# unfold works with Alpine, which evaluates its attributes, and with inline styles: nothing comes
# from elsewhere, and no script stands in a page.
CONSOLE = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
API_DOCS = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
DENY_ALL = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""For answers that are no pages: whoever opens one in a browser gets nothing that acts."""
POLICIES = (("/admin/", CONSOLE), ("/api/v1/docs/", API_DOCS), ("/api/", DENY_ALL),
            ("/hooks/", DENY_ALL))  # fmt: skip
UNCACHED_PATHS = ("/admin/", "/api/", "/hooks/")


class SecurityHeadersMiddleware:
    """Adds a Content-Security-Policy, and `Cache-Control: no-store` to what holds people's data."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
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
