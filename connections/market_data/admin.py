"""Where prices come from, as operators see it: who tells them, when last, and what is wrong."""

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import Field
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common.admin import ConsoleAdmin
from common.badges import badge
from common.permissions import Right
from connections.market_data.source_status import source_status, with_status
from connections.models import DataConnection


@admin.register(DataConnection)
class DataConnectionAdmin(ConsoleAdmin):
    """Where prices come from. A broker's stream is made on the page of its account."""

    change_right = Right.PRICES
    list_display = ("name", "teller", "owner", "last_price", "state", "wrong")
    list_filter = ("kind", "is_active")
    search_fields = ("name", "broker_connection__name", "user__username")
    autocomplete_fields = ("user",)
    fields = ("name", "kind", "teller", "user", "settings", "is_active", "state", "wrong", "pairs",
              "last_price", "followed_by")  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[DataConnection]:
        found: QuerySet[DataConnection] = super().get_queryset(request)
        return with_status(found)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """How it fares is told; whose a broker's is, is decided on the account's page."""
        shown = ("teller", "state", "wrong", "pairs", "last_price", "followed_by")
        if not _is_brokers(obj):
            return shown
        nobodys = () if obj.broker_connection_id else ("is_active",)  # what nobody tells stays off
        return (*shown, "kind", "user", *nobodys)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A new one has told nothing yet."""
        return self.fields if obj else ("name", "kind", "user", "settings", "is_active")

    def formfield_for_choice_field(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Field | None:
        if db_field.name == "kind":  # an account tells those
            broker = DataConnection.Kind.BROKER
            kwargs["choices"] = [one for one in db_field.choices if one[0] != broker]
        found: Field | None = super().formfield_for_choice_field(db_field, request, **kwargs)
        return found

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A broker's is switched off; accounts that go by it keep saying so."""
        return not _is_brokers(obj) and bool(super().has_delete_permission(request, obj))

    @admin.display(description="Told by", ordering="broker_connection__name")
    def teller(self, source: DataConnection) -> str:
        if source.broker_connection is None:
            is_brokers = source.kind == DataConnection.Kind.BROKER
            return "nobody" if is_brokers else source.get_kind_display()
        page = reverse(
            "admin:connections_executionconnection_page", args=[source.broker_connection_id]
        )
        return format_html('<a href="{}">{}</a>', page, source.broker_connection.name)

    @admin.display(description="For", ordering="user__username")
    def owner(self, source: DataConnection) -> str:
        return source.user.get_username() if source.user else "everybody"

    @admin.display(description="State")
    def state(self, source: DataConnection) -> SafeString:
        fares = source_status(source, datetime.now(UTC))
        return badge(fares.css, fares.label)

    @admin.display(description="Last price", ordering="last_price_at")
    def last_price(self, source: DataConnection) -> Any:
        return getattr(source, "last_price_at", None)

    @admin.display(description="Trouble")
    def wrong(self, source: DataConnection) -> str:
        fares = source_status(source, datetime.now(UTC))
        return "" if fares.is_well else fares.text.replace("`", "")

    @admin.display(description="Follows")
    def pairs(self, source: DataConnection) -> str:
        state = getattr(source, "health", None)
        return ", ".join(state.pairs) if state else ""

    @admin.display(description="Followed by")
    def followed_by(self, source: DataConnection) -> str:
        state = getattr(source, "health", None)
        return state.followed_by if state else ""


def _is_brokers(source: DataConnection | None) -> bool:
    return source is not None and source.kind == DataConnection.Kind.BROKER
