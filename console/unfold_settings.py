"""Settings of unfold's shell: names, colours, navigation. Must not import models."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy

from common.clocks import market_clock, market_now

_GREYS = {
    "50": "#fafaf9", "100": "#f4f4f2", "200": "#e7e7e4", "300": "#cfcfca", "400": "#9a9ca1",
    "500": "#656973", "600": "#50545d", "700": "#3d434b", "800": "#282c31", "900": "#16181b",
    "950": "#0f1113",
}  # fmt: skip
_INK = {  # no brand colour: primary buttons and links are ink
    "50": "#f4f4f2", "100": "#efefec", "200": "#e7e7e4", "300": "#cfcfca", "400": "#d5d8dd",
    "500": "#e3e5e9", "600": "#17191e", "700": "#282c31", "800": "#17191e", "900": "#17191e",
    "950": "#0f1113",
}  # fmt: skip


def _item(title: str, icon: str, name: str, **more: Any) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{name}"), **more}


def environment(_request: HttpRequest) -> list[str] | None:
    """Return the label of a replay with its market time, shown at the top of each page."""
    clock = market_clock()
    return [f"replay {clock.speed:g}× · {market_now():%-d %b %Y}", "warning"] if clock else None


def drift_count(request: HttpRequest) -> str:
    """Return the number of open drift items, for the navigation."""
    from console.queries.frame import frame_of  # settings are read before the models

    return str(frame_of(request).open_drift)


def request_count(request: HttpRequest) -> str:
    """Return the number of feeds whose approval is requested, for the navigation."""
    from console.queries.frame import frame_of  # settings are read before the models

    return str(frame_of(request).open_requests)


NAVIGATION: list[dict[str, Any]] = [
    {
        "items": [
            _item("Dashboard", "monitoring", "index"),
            _item("Signals", "campaign", "signals_signal_changelist"),
            _item("Connections", "cable", "connections_executionconnection_changelist"),
            _item("Orders", "receipt_long", "execution_order_changelist"),
            _item("Positions", "show_chart", "positions_executionposition_changelist"),
            _item(
                "Drift inbox",
                "difference",
                "execution_driftitem_changelist",
                badge="console.unfold_settings.drift_count",
                badge_variant="warning",
            ),
            _item("Execution logs", "list_alt", "execution_executionlog_changelist"),
            _item("Results", "bar_chart", "analytics_analyticsdaily_changelist"),
            _item("Execution quality", "speed", "console_execution"),
        ]
    },
    {
        "separator": True,
        "items": [
            _item("Broker hosts", "dns", "connections_hostcircuit_changelist"),
            _item("Maintenance", "engineering", "connections_maintenancewindow_changelist"),
            _item("Kill switch", "front_hand", "connections_killswitch_changelist"),
            _item("Cancelled and closed", "cancel", "execution_scopedaction_changelist"),
            _item("Trading pauses", "pause_circle", "connections_tradingpause_changelist"),
            _item("Restores", "settings_backup_restore", "connections_epoch_changelist"),
            _item("Settings", "settings", "console_settings"),
            _item("Audit trail", "history", "console_trail"),
            _item("Archive", "inventory_2", "common_archivefile_changelist"),
            _item("Schedules", "schedule", "django_celery_beat_periodictask_changelist"),
            _item("Access", "group", "users_user_changelist"),
            _item("Invitations", "person_add", "users_invitation_changelist"),
            {"title": "My security", "icon": "lock", "link": reverse_lazy("security:overview")},
            {"title": "My channels", "icon": "mail", "link": reverse_lazy("security:channels")},
        ],
    },
    {
        "title": "Set up",
        "separator": True,
        "collapsible": True,
        "items": [
            _item("Feeds", "podcasts", "signals_feed_changelist"),
            _item("Alerts", "inbox", "alerts_incomingalert_changelist"),
            _item(
                "Requests for approval",
                "approval",
                "signals_feed_requests",
                badge="console.unfold_settings.request_count",
                badge_variant="warning",
            ),
            _item("Subscriptions", "rss_feed", "connections_subscription_changelist"),
            _item("Presets", "tune", "connections_tradingpreset_changelist"),
            _item("Loss limits", "trending_down", "connections_losslimit_changelist"),
            _item("Decision providers", "rule", "connections_decisionprovider_changelist"),
            _item("News calendars", "event", "connections_newscalendar_changelist"),
            _item("Deposits", "payments", "connections_cashflow_changelist"),
            _item("Price sources", "price_change", "connections_dataconnection_changelist"),
            _item("Instruments", "straighten", "connections_instrument_changelist"),
            _item("API keys", "key", "users_apikey_changelist"),
            _item("Paper broker", "science", "paper_paperaccount_changelist"),
            _item("Buses", "hub", "buses_bussink_changelist"),
            _item("Dead letters", "mark_email_unread", "buses_deadletter_changelist"),
            _item("Lanes from buses", "alt_route", "buses_buslane_changelist"),
            _item("Routes from buses", "input", "buses_busroute_changelist"),
            _item("Messages from buses", "move_to_inbox", "buses_busmessage_changelist"),
            _item("Events", "bolt", "events_event_changelist"),
            _item("Notifications", "notifications", "events_notification_changelist"),
            _item("Processes", "memory", "execution_workerlease_changelist"),
            _item("Dropped", "delete_sweep", "execution_droppedmessagecount_changelist"),
        ],
    },
]

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Fillcast",
    "SITE_HEADER": "Fillcast",
    "SITE_SUBHEADER": "console",
    "SITE_SYMBOL": "hub",
    "SITE_URL": "/",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda _request: static("fillcast/mark.svg"),
        }
    ],
    "SHOW_HISTORY": False,
    "BORDER_RADIUS": "6px",
    "COLORS": {"base": _GREYS, "primary": _INK},
    "STYLES": [
        lambda _request: static("fillcast/fillcast.css"),
        lambda _request: static("fillcast/console.css"),
    ],
    "SCRIPTS": [
        lambda _request: static("fillcast/live.js"),
        lambda _request: static("fillcast/landmarks.js"),
    ],
    "ENVIRONMENT": "console.unfold_settings.environment",
    "DASHBOARD_CALLBACK": "console.pages.dashboard_pages.callback",
    "SIDEBAR": {"show_search": False, "navigation": NAVIGATION},
}
