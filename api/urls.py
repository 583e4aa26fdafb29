"""The addresses of the API."""

from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.routers import SimpleRouter

from api import schema  # noqa: F401  # registers how our authentication is documented
from api.hooks import AlertView
from api.problems import not_found
from signals.api import FeedViewSet, SignalViewSet

router = SimpleRouter()
router.register("feeds", FeedViewSet, basename="feed")
router.register("signals", SignalViewSet, basename="signal")

v1: list[URLPattern | URLResolver] = [
    *router.urls,
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", include(v1)),
    path("hooks/tradingview/<slug:feed>/<str:token>/", AlertView.as_view(), name="alerts"),
    re_path(r"^(?:api|hooks)(?:/.*)?$", not_found),
]
