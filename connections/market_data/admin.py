"""Operators' pages of price sources: the account, the last price, and what is wrong."""

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import Field
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common.permissions import Right
from common.web.admin import ConsoleAdmin
from common.web.badges import badge
from common.web.quotas import require_quota
from connections.market_data.compatibility import LIVE_KINDS
from connections.market_data.source_status import source_status, with_status
from connections.models import DataConnection


@admin.register(DataConnection)
class DataConnectionAdmin(ConsoleAdmin):
    """Price sources. A broker's source is created on the page of its account."""

    change_right = Right.PRICES
    list_display = ("name", "account", "owner", "last_price", "state", "problem")
    list_filter = ("kind", "is_active")
    search_fields = ("name", "broker_connection__name", "user__username")
    autocomplete_fields = ("user",)
    fields = (
        *("name", "kind", "account", "user", "settings", "fallback", "is_active"),
        *("state", "problem", "pairs", "last_price", "followed_by", "held_back", "suspect"),
        *("on_fallback", "refused"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[DataConnection]:
        """Return the sources with what their status needs."""
        sources: QuerySet[DataConnection] = super().get_queryset(request)
        return with_status(sources)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return the read-only fields; a broker source's owner is set on its account's page."""
        always = (
            *("account", "state", "problem", "pairs", "last_price", "followed_by", "held_back"),
            *("suspect", "on_fallback", "refused"),
        )
        if not _is_brokers(obj):
            return always
        # Without an account it stays switched off.
        switch = () if obj.broker_connection_id else ("is_active",)
        return (*always, "kind", "user", *switch)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields of the page; a new source has no status yet."""
        return self.fields if obj else ("name", "kind", "user", "settings", "is_active")

    def formfield_for_choice_field(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Field | None:
        """Return the form field; a broker's source cannot be created here."""
        if db_field.name == "kind":
            broker = DataConnection.Kind.BROKER
            kwargs["choices"] = [choice for choice in db_field.choices if choice[0] != broker]
        field: Field | None = super().formfield_for_choice_field(db_field, request, **kwargs)
        return field

    def formfield_for_foreignkey(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Field | None:
        """Return the form field; a fallback's prices come from a broker or are pushed."""
        if db_field.name == "fallback":
            kwargs["queryset"] = DataConnection.objects.filter(kind__in=LIVE_KINDS)
        field: Field | None = super().formfield_for_foreignkey(db_field, request, **kwargs)
        return field

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write the source; a new one is counted. An account has one of its own beside these."""
        if not change:
            mine = DataConnection.objects.filter(user=obj.user_id, broker_connection=None)
            require_quota("price sources", obj.user_id, mine)
        super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False for a broker's source: it can only be switched off, which accounts show."""
        return not _is_brokers(obj) and bool(super().has_delete_permission(request, obj))

    @admin.display(description="Provided by", ordering="broker_connection__name")
    def account(self, source: DataConnection) -> str:
        """Return a link to the account, or the kind of a source without one."""
        if source.broker_connection is None:
            return "no account" if _is_brokers(source) else source.get_kind_display()
        page = reverse(
            "admin:connections_executionconnection_page", args=[source.broker_connection_id]
        )
        return format_html('<a href="{}">{}</a>', page, source.broker_connection.name)

    @admin.display(description="For", ordering="user__username")
    def owner(self, source: DataConnection) -> str:
        """Return the name of the only user who may choose it, or "all users"."""
        return source.user.get_username() if source.user else "all users"

    @admin.display(description="State")
    def state(self, source: DataConnection) -> SafeString:
        status = source_status(source, datetime.now(UTC))
        return badge(status.css, status.label)

    @admin.display(description="Last price", ordering="last_price_at")
    def last_price(self, source: DataConnection) -> Any:
        """Return when the last price came in."""
        return getattr(source, "last_price_at", None)

    @admin.display(description="Problem")
    def problem(self, source: DataConnection) -> str:
        """Return what is wrong and what to do; '' if nothing is."""
        status = source_status(source, datetime.now(UTC))
        return "" if status.is_well else status.text.replace("`", "")

    @admin.display(description="Follows")
    def pairs(self, source: DataConnection) -> str:
        """Return the followed pairs."""
        health = getattr(source, "health", None)
        return ", ".join(health.pairs) if health else ""

    @admin.display(description="Followed by")
    def followed_by(self, source: DataConnection) -> str:
        """Return the name of the process that follows it."""
        health = getattr(source, "health", None)
        return health.followed_by if health else ""

    @admin.display(description="Held back")
    def held_back(self, source: DataConnection) -> str:
        """Return how many quotes far from the one before were held back, and the last of them."""
        health = getattr(source, "health", None)
        if health is None or not health.held_back:
            return "none"
        return f"{health.held_back:,}, last {health.last_held}"

    @admin.display(description="Suspect now")
    def suspect(self, source: DataConnection) -> str:
        """Return the pairs with a quote that fires nothing until another one confirms it."""
        health = getattr(source, "health", None)
        return ", ".join(health.suspects) if health and health.suspects else "none"

    @admin.display(description="On fallback now")
    def on_fallback(self, source: DataConnection) -> str:
        """Return the pairs that have the prices of a fallback, and whose these are."""
        health = getattr(source, "health", None)
        if health is None or not health.on_fallback:
            return "none"
        return f"{', '.join(health.on_fallback)}: {health.fallback_names}"

    @admin.display(description="Refused")
    def refused(self, source: DataConnection) -> str:
        """Return how many pushed quotes were refused for each reason, and the last one."""
        counted = source.push_refusals.order_by("-quotes", "code")
        lines = [f"{row.quotes:,} {row.code}, last {row.last_text}" for row in counted]
        return "; ".join(lines) or "none"


def _is_brokers(source: DataConnection | None) -> bool:
    return source is not None and source.kind == DataConnection.Kind.BROKER
