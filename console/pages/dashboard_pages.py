"""The dashboard: the admin's index page, and the part of it that htmx refreshes."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from console.pages import execution_quality_pages, message_pages, settings_pages
from console.pages.audit_trail import trail
from console.queries import dashboard
from execution.monitoring.scan_heartbeat import scan_status
from users.trail_alarm import trail_status


def callback(request: HttpRequest, context: dict[str, object]) -> dict[str, object]:
    """Return the context that unfold passes to the index page."""
    return {**context, **dashboard.context(), "title": "Dashboard"}


def live(request: HttpRequest) -> HttpResponse:
    """The dashboard's figures without the shell, for htmx."""
    response = TemplateResponse(request, "console/dashboard/live.html", dashboard.context())
    response["Cache-Control"] = "no-store"
    return response


def scan_alarm(request: HttpRequest) -> HttpResponse:
    """The alarms of every page, for htmx."""
    context = {"scan": scan_status(), "trail": trail_status()}
    response = TemplateResponse(request, "console/parts/scan_alarm.html", context)
    response["Cache-Control"] = "no-store"
    return response


def urls() -> list[URLPattern]:
    """Return the console's addresses besides those of the models."""
    return [
        path("console/live/", admin.site.admin_view(live), name="console_live"),
        path("console/scan-alarm/", admin.site.admin_view(scan_alarm), name="console_scan_alarm"),
        path("console/trail/", admin.site.admin_view(trail), name="console_trail"),
        *(
            path(route, admin.site.admin_view(view), name=name)
            for route, name, view in execution_quality_pages.URLS
        ),
        *(
            path(f"console/settings/messages/{rest}", admin.site.admin_view(view), name=name)
            for rest, view, name in message_pages.URLS
        ),
        *(
            path(f"console/settings/{rest}", admin.site.admin_view(view), name=name)
            for rest, view, name in settings_pages.URLS
        ),
    ]
