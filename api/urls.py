"""URLs of the API, alerts and unknown addresses below them."""

from django.urls import URLPattern, URLResolver, include, path, re_path
from rest_framework.routers import SimpleRouter

from alerts.api import FeedViewSet
from analytics.api import AnalyticsView, EquityView, ExecutionQualityView
from analytics.api_preflight import PreflightViewSet
from analytics.api_results import (
    BreakdownView,
    ComparedView,
    ExportView,
    MonthsView,
    StatisticsView,
)
from analytics.compare.api import SubscriptionTwinViewSet
from analytics.history.api import HistoryView, TrailView
from analytics.history.api_open_tables import OpenExportView
from analytics.installation.api import InstallationExecutionView
from analytics.records.api import RecordHeadView, RecordLinksView, RecordTradesView, RecordView
from api import schema  # noqa: F401  # registers how our authentication is documented
from api.hooks import AlertStatusView, AlertView
from api.problems import not_found
from api.reference_page import reference
from api.schema_view import SchemaView
from api.trading.drift import DriftViewSet
from api.trading.execution_log import LogViewSet
from api.trading.kill_switch import KillSwitchViewSet
from api.trading.orders import OrderViewSet, PositionViewSet
from api.trading.presets import PresetMeaningViewSet
from api.trading.provider_results import FeedFollowersViewSet, SignalResultsViewSet
from api.trading.rounding_debt import RoundingDebtViewSet
from api.trading.routes import RouteViewSet
from api.trading.sample_orders import SampleOrderViewSet
from buses.stream.api import StreamView
from connections.api.connections import ConnectionViewSet, DataConnectionViewSet, PresetViewSet
from connections.api.decisions import DecisionProviderViewSet, NewsCalendarViewSet
from connections.api.loss_limits import CashFlowViewSet, LossLimitViewSet, TradingPauseViewSet
from connections.api.subscriptions import SubscriptionViewSet
from events.api import ChannelViewSet, NotificationViewSet
from prices.api import PushedQuotesViewSet
from signals.api import SignalViewSet
from users.api import ApiKeyViewSet, MeView
from users.settings_api import SettingsViewSet

router = SimpleRouter()
router.register("api-keys", ApiKeyViewSet, basename="api-key")
router.register("cash-flows", CashFlowViewSet, basename="cash-flow")
router.register("channels", ChannelViewSet, basename="channel")
router.register("connections", ConnectionViewSet, basename="connection")
router.register("connections", SampleOrderViewSet, basename="connection-sample")
router.register("data-connections", DataConnectionViewSet, basename="data-connection")
router.register("data-connections", PushedQuotesViewSet, basename="data-connection-quotes")
router.register("decision-providers", DecisionProviderViewSet, basename="decision-provider")
router.register("drift", DriftViewSet, basename="drift")
router.register("execution-logs", LogViewSet, basename="execution-log")
router.register("feeds", FeedViewSet, basename="feed")
router.register("feeds", FeedFollowersViewSet, basename="feed-followers")
router.register("kill-switch", KillSwitchViewSet, basename="kill-switch")
router.register("loss-limits", LossLimitViewSet, basename="loss-limit")
router.register("news-calendars", NewsCalendarViewSet, basename="news-calendar")
router.register("notifications", NotificationViewSet, basename="notification")
router.register("orders", OrderViewSet, basename="order")
router.register("positions", PositionViewSet, basename="position")
router.register("preflights", PreflightViewSet, basename="preflight")
router.register("presets", PresetViewSet, basename="preset")
router.register("presets", PresetMeaningViewSet, basename="preset-meaning")
router.register("settings", SettingsViewSet, basename="settings")
router.register("signals", SignalViewSet, basename="signal")
router.register("signals", SignalResultsViewSet, basename="signal-results")
router.register("subscriptions", SubscriptionViewSet, basename="subscription")
router.register("subscriptions", RoundingDebtViewSet, basename="subscription-debt")
router.register("subscriptions", RouteViewSet, basename="subscription-route")
router.register("subscriptions", SubscriptionTwinViewSet, basename="subscription-twin")
router.register("trading-pauses", TradingPauseViewSet, basename="trading-pause")

v1: list[URLPattern | URLResolver] = [
    *router.urls,
    path("me/", MeView.as_view(), name="me"),
    path("analytics/", AnalyticsView.as_view(), name="analytics"),
    path("analytics/equity/", EquityView.as_view(), name="analytics-equity"),
    path("analytics/execution/", ExecutionQualityView.as_view(), name="analytics-execution"),
    path(
        "analytics/installation/",
        InstallationExecutionView.as_view(),
        name="analytics-installation",
    ),
    path("analytics/statistics/", StatisticsView.as_view(), name="analytics-statistics"),
    path("analytics/breakdown/", BreakdownView.as_view(), name="analytics-breakdown"),
    path("analytics/compared/", ComparedView.as_view(), name="analytics-compared"),
    path("analytics/months/", MonthsView.as_view(), name="analytics-months"),
    path("analytics/export/<slug:table>/", ExportView.as_view(), name="analytics-export"),
    path("feeds/<slug:slug>/record/", RecordView.as_view(), name="feed-record"),
    path("feeds/<slug:slug>/record/trades/", RecordTradesView.as_view(), name="feed-record-trades"),
    path("feeds/<slug:slug>/record/links/", RecordLinksView.as_view(), name="feed-record-links"),
    path("feeds/<slug:slug>/record/head/", RecordHeadView.as_view(), name="feed-record-head"),
    path("exports/<slug:table>/", OpenExportView.as_view(), name="export"),
    path("history/<slug:table>/", HistoryView.as_view(), name="history"),
    path("stream/", StreamView.as_view(), name="stream"),
    path("trail/", TrailView.as_view(), name="trail"),
    path("schema/", SchemaView.as_view(), name="schema"),
    path("docs/", reference, name="docs"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", include(v1)),
    path("hooks/tradingview/<slug:feed>/<str:token>/", AlertView.as_view(), name="alerts"),
    path(
        "hooks/tradingview/<slug:feed>/<str:token>/alerts/<int:alert>/",
        AlertStatusView.as_view(),
        name="alert_status",
    ),
    re_path(r"^(?:api|hooks)(?:/[\s\S]*)?\Z", not_found),  # also with line breaks
]
