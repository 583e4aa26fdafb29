"""All URLs: each app defines its own, and this module joins them."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from api import health
from api.metrics import metrics
from config.console_sign_in import ConsoleSignIn

handler403 = "console.pages.forbidden.forbidden"
handler500 = "config.middleware.request_retry.server_error"
admin.autodiscover()  # here, so that only processes that serve URLs import the pages
urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("admin/login/", ConsoleSignIn.as_view(), name="console_sign_in"),
    path("admin/", admin.site.urls),
    path("", include("api.urls")),
    path("", include("portal.visitor_urls")),
    path("", include("portal.security_urls")),
    path("", include("portal.urls")),
]
