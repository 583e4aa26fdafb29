"""The paper broker for operators: accounts with injected faults, and its books, read-only."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from brokers.paper.models import (
    PaperAccount,
    PaperInstrument,
    PaperOrder,
    PaperPosition,
    PaperQuote,
)
from common.permissions import Right
from common.web.admin import BigTableAdmin, ConsoleAdmin, ReadOnlyAdmin
from common.web.badges import badge

FAULTS = (
    "reject_code",
    "unreachable",
    "silent_before",
    "silent_after",
    "drop_every_nth",
    "drops_levels",
)


@admin.register(PaperAccount)
class PaperAccountAdmin(ConsoleAdmin):
    """Customers' accounts. Changes affect the broker's behaviour, not its books."""

    change_right = Right.PAPER
    actions = None
    list_display = ("number", "owner", "currency", "balance", "position_mode", "behaves")
    list_filter = ("trading_allowed", "native_stops", "position_mode", "unreachable")
    search_fields = ("=number", "owner")
    exclude = ("password_hash",)
    readonly_fields = ("number", "currency", "balance", "position_mode")
    fieldsets = (
        (None, {"fields": (("number", "owner"), ("currency", "balance"),
                           ("position_mode", "leverage"), "commission_per_million",
                           ("trading_allowed", "native_stops"))}),
        ("Pace", {"fields": (("latency_ms", "reply_delay_ms"), "partial_fill_max")}),
        ("Faults on demand", {"fields": (("unreachable", "reject_code"),
                                         ("silent_before", "silent_after"), "drop_every_nth",
                                         "drops_levels")}),
    )  # fmt: skip

    @admin.display(description="Behaves")
    def behaves(self, account: PaperAccount) -> SafeString:
        if any(getattr(account, fault) for fault in FAULTS):
            return badge("attention", "Faults on demand")
        return badge("ok", "Well") if account.trading_allowed else badge("paused", "Read-only")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # connections open their accounts

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(PaperInstrument)
class PaperInstrumentAdmin(ReadOnlyAdmin):
    list_display = ("symbol", "pair", "digits", "day_ends")
    search_fields = ("symbol", "pair")


@admin.register(PaperQuote)
class PaperQuoteAdmin(ReadOnlyAdmin):
    list_display = ("symbol", "bid", "ask", "time")
    search_fields = ("symbol",)


@admin.register(PaperOrder)
class PaperOrderAdmin(BigTableAdmin):
    """The broker's orders."""

    list_display = (
        "id",
        "account",
        "client_order_id",
        "symbol",
        "side",
        "status",
        "reason",
        "time",
    )
    list_filter = (("status", ChoicesDropdownFilter),)
    list_select_related = ("account",)
    ordering = ("-id",)
    search_fields = ("client_order_id",)
    search_help_text = "An account's number, or a client order id among the newest orders"

    def search_exact(self, queryset: Any, term: str) -> Any:
        by_account = queryset.filter(account__number=term)
        return by_account | self.among_newest(queryset, client_order_id=term)


@admin.register(PaperPosition)
class PaperPositionAdmin(BigTableAdmin):
    """The broker's open positions."""

    list_display = ("id", "account", "symbol", "side", "opened_at")
    list_select_related = ("account",)
    ordering = ("-id",)
    search_fields = ("account__number",)
    search_help_text = "An account's number"

    def search_exact(self, queryset: Any, term: str) -> Any:
        return queryset.filter(account__number=term)
