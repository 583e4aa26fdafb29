"""The browser's last user, for forms that were sent after a session ended."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from portal.kept_forms import remember_user


class LastUserMiddleware:
    """Stores who uses this browser in a signed cookie. Must come after the authentication."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not request.path_info.startswith(("/api/", "/hooks/")):
            remember_user(request, response)
        return response
