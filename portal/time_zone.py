"""The times of the portal's pages, in the time zone that the user has chosen."""

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from common.time_zones import is_time_zone

UTC_PATHS = ("/admin/", "/api/", "/hooks/")  # operators compare times with logs; the API is in UTC


class TimeZoneMiddleware:
    """Renders the portal's pages in the user's time zone. Must come after TenantMiddleware.

    What is typed stays in UTC (`common.form_fields.UtcDateTimeField`), and so do files to download.
    """

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(UTC_PATHS):
            return self.get_response(request)
        user: Any = request.user
        name = user.time_zone if user.is_authenticated else "UTC"
        if name == "UTC" or not is_time_zone(name):
            return self.get_response(request)
        with timezone.override(ZoneInfo(name)):
            return self.get_response(request)
