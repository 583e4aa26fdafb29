"""Subscriptions of accounts to feeds."""

from django.contrib import admin
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter

from common.clocks import market_now
from common.web.admin import ReadOnlyAdmin, ReadOnlyInline
from common.web.badges import badge
from connections.models import LossLimit, Subscription, SubscriptionInterval, SubscriptionRoute


class LossLimitInline(ReadOnlyInline):
    """The loss limits of a subscription or a preset; they have a list of their own."""

    model = LossLimit
    fields = ("name", "maximum", "unit", "action", "resume")
    readonly_fields = fields


class IntervalInline(ReadOnlyInline):
    """The times in which a subscription was active."""

    model = SubscriptionInterval
    fields = ("started_at", "ended_at")
    readonly_fields = fields


class RouteInline(ReadOnlyInline):
    """The accounts of which one executes each signal."""

    model = SubscriptionRoute
    fields = ("rank", "connection", "share", "symbol_map")
    readonly_fields = fields


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    """Subscriptions of connections to feeds."""

    list_display = (
        "account", "feed", "state", "directions", "multiplier", "priority", "expires_at",
    )  # fmt: skip
    list_filter = (
        ("feed", RelatedDropdownFilter),
        "is_paused",
        ("directions", ChoicesDropdownFilter),
        ("priority", ChoicesDropdownFilter),
    )
    list_select_related = ("connection", "feed")
    search_fields = ("connection__name", "=connection__account", "feed__name", "feed__slug")
    inlines = (RouteInline, IntervalInline, LossLimitInline)

    @admin.display(description="Connection", ordering="connection__name")
    def account(self, row: Subscription) -> str:
        """Return the connection's name and number: many have the same name."""
        return f"{row.connection.name} · {row.connection.account}"

    @admin.display(description="State")
    def state(self, row: Subscription) -> SafeString:
        if row.archived_at:
            return badge("cancelled", "Ended")
        if row.expires_at and row.expires_at <= market_now():
            return badge("expired", "Expired")
        return badge("paused", "Paused") if row.is_paused else badge("ok", "Active")
