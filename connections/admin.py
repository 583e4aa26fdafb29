"""Accounts, presets, subscriptions and kill switches. A connection's page: console."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter

import connections.market_data.admin  # noqa: F401  # registers price sources
from common.admin import ConsoleAdmin, ReadOnlyAdmin, ReadOnlyInline, time_column
from common.badges import badge
from common.clocks import market_now
from common.formatting import number
from common.permissions import Right
from common.reason_codes import Code
from connections.models import (
    Epoch,
    ExecutionConnection,
    HostCircuit,
    Instrument,
    KillSwitch,
    MaintenanceWindow,
    Subscription,
    SubscriptionInterval,
    TradingPreset,
)
from connections.selectors import health_badge, skip_reasons, with_display_columns


class TradesFilter(admin.SimpleListFilter):
    """What the next signal would be told."""

    title = "takes the next signal"
    parameter_name = "trades"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        codes = (
            Code.CONNECTION_PAUSED, Code.CONNECTION_INACTIVE, Code.CONNECTION_ERROR,
            Code.ACCOUNT_TRADING_DISABLED, Code.ACCOUNT_ANSWER_UNUSABLE,
            Code.CONNECTION_UNREACHABLE, Code.CIRCUIT_OPEN, Code.CONNECTION_UNTESTED,
            Code.CONNECTION_TEST_PENDING, Code.NO_SESSION_WORKER, Code.CONNECTION_NOT_RECONCILED,
            Code.NO_CREDENTIALS, Code.NO_PRESET, Code.NO_DATA_CONNECTION, Code.TRADING_HALTED,
            Code.ENTRIES_HALTED,
        )  # fmt: skip
        return [("yes", "Yes"), ("no", "No, for any reason")] + [(c, c.sentence) for c in codes]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ExecutionConnection]
    ) -> QuerySet[ExecutionConnection]:
        wanted = self.value()
        if not wanted:
            return queryset
        fits = {
            pk
            for pk, reason in skip_reasons().items()
            if (
                reason == ""
                if wanted == "yes"
                else reason != ""
                if wanted == "no"
                else reason == wanted
            )
        }
        return queryset.filter(pk__in=fits)


@admin.register(ExecutionConnection)
class ExecutionConnectionAdmin(ConsoleAdmin):
    """Broker accounts with their health at a glance. Adding and changing: console."""

    change_right = Right.CONNECTIONS
    page_list = True
    actions = None
    list_display = ("name", "kind", "account", "owner", "health_shown", "preset", "tested", "used")
    list_filter = (
        TradesFilter,
        "type",
        "is_active",
        "is_paused",
        ("preset", RelatedDropdownFilter),
    )
    list_select_related = ("user", "admin", "preset", "health")
    search_fields = ("name", "=account", "user__username", "admin__username")
    search_help_text = "Name, account number or owner"

    def get_queryset(self, request: HttpRequest) -> QuerySet[ExecutionConnection]:
        found: QuerySet[ExecutionConnection] = super().get_queryset(request)
        return with_display_columns(found).defer("sealed_credentials")

    @admin.display(description="Kind", ordering="type")
    def kind(self, connection: ExecutionConnection) -> str:
        return " · ".join(filter(None, (connection.type, connection.exchange_name)))

    @admin.display(description="Owner")
    def owner(self, connection: ExecutionConnection) -> str:
        return str(connection.user or f"{connection.admin}, all signals")

    @admin.display(description="Health")
    def health_shown(self, connection: ExecutionConnection) -> SafeString:
        return badge(*health_badge(connection))

    @admin.display(description="Tested", ordering="health__last_tested_at")
    def tested(self, connection: ExecutionConnection) -> Any:
        return connection.health.last_tested_at

    @admin.display(description="Last used", ordering="health__last_used_at")
    def used(self, connection: ExecutionConnection) -> Any:
        return connection.health.last_used_at

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # on its page, by services

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # it is archived; its history stays


@admin.register(TradingPreset)
class TradingPresetAdmin(ConsoleAdmin):
    """How large a trade may be, and where it stops."""

    change_right = Right.LIMITS
    list_display = ("name", "user", "sizing_mode", "max_open_positions", "max_leverage")
    list_filter = (("sizing_mode", ChoicesDropdownFilter),)
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    autocomplete_fields = ("user",)
    fieldsets = (
        (None, {"fields": (("name", "user"),)}),
        (
            "Size",
            {"fields": ("sizing_mode", ("risk_percent", "fixed_quantity"),
                        ("percent_of_balance", "fixed_amount"), "multiplier",
                        ("small_multiplier", "normal_multiplier", "large_multiplier"))},
        ),
        (
            "Limits",
            {"fields": (("max_quantity", "max_open_positions"),
                        ("max_leverage", "max_portfolio_risk_percent"),
                        ("max_slippage_pips", "slippage_alert_threshold_pips", "slippage_unit"),
                        "max_signal_age_seconds")},
        ),
        ("Levels and days", {"fields": (("broker_holds_stops", "stuck_policy"),
                                        "trading_day_zone")}),
    )  # fmt: skip


class IntervalInline(ReadOnlyInline):
    """From when until when it stood."""

    model = SubscriptionInterval
    fields = ("started_at", "ended_at")
    readonly_fields = fields


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    """Which connection takes which feed."""

    list_display = ("account", "feed", "state", "directions", "multiplier", "expires_at")
    list_filter = (
        ("feed", RelatedDropdownFilter),
        "is_paused",
        ("directions", ChoicesDropdownFilter),
    )
    list_select_related = ("connection", "feed")
    search_fields = ("connection__name", "=connection__account", "feed__name", "feed__slug")
    inlines = (IntervalInline,)

    @admin.display(description="Connection", ordering="connection__name")
    def account(self, row: Subscription) -> str:
        return row.connection.name

    @admin.display(description="State")
    def state(self, row: Subscription) -> SafeString:
        if row.archived_at:
            return badge("cancelled", "Ended")
        if row.expires_at and row.expires_at <= market_now():
            return badge("expired", "Run out")
        return badge("paused", "Paused") if row.is_paused else badge("ok", "Open")


@admin.register(Instrument)
class InstrumentAdmin(ReadOnlyAdmin):
    """What brokers list, with their steps."""

    list_display = ("symbol", "pair", "book", "digits", "pip", "quantity_min", "quantity_step",
                    "units_in_a_lot", "read_at")  # fmt: skip
    list_filter = ("book", "is_preferred")
    search_fields = ("symbol", "pair")

    @admin.display(description="Units in a lot", ordering="contract_size")
    def units_in_a_lot(self, instrument: Instrument) -> str:
        """Quantities are base units here; brokers' own programs state lots."""
        return number(instrument.contract_size)


@admin.register(HostCircuit)
class HostCircuitAdmin(ReadOnlyAdmin):
    """Broker hosts that were away: entries wait while one is."""

    list_display = ("host", "state", "unanswered", "message", "opened_at", "closed_at")
    search_fields = ("host",)
    ordering = ("closed_at", "host")

    @admin.display(description="State")
    def state(self, circuit: HostCircuit) -> SafeString:
        return badge("rejected", "Away") if circuit.opened_at else badge("ok", "Answers")

    @admin.display(description="Did not answer")
    def unanswered(self, circuit: HostCircuit) -> str:
        return f"{circuit.failing:,} of {circuit.contacted:,}"


@admin.register(MaintenanceWindow)
class MaintenanceWindowAdmin(ConsoleAdmin):
    """When a broker may not answer, beside the times that brokers publish
    (brokers/maintenance_windows.py)."""

    change_right = Right.MAINTENANCE
    list_display = ("note", "whose", "when", "minutes", "is_closed", "is_active")
    list_filter = ("is_active", "broker_type")
    search_fields = ("note", "broker_type", "exchange_name", "host")
    ordering = ("broker_type", "exchange_name", "host", "starts_at")
    fieldsets = (
        (None, {"fields": ("note", "is_active")}),
        ("Whose", {"fields": (("broker_type", "exchange_name"), "host")}),
        ("When", {"fields": (("weekday", "on_date"), ("starts_at", "zone"), "minutes",
                             "is_closed")}),
    )  # fmt: skip

    @admin.display(description="Whose")
    def whose(self, window: MaintenanceWindow) -> str:
        named = (window.broker_type, window.exchange_name, window.host)
        return " · ".join(filter(None, named)) or "all brokers"

    @admin.display(description="When")
    def when(self, window: MaintenanceWindow) -> str:
        day = window.on_date or window.get_weekday_display() or "every day"
        return f"{day}, {window.starts_at:%H:%M} {window.zone}"


@admin.register(KillSwitch)
class KillSwitchAdmin(ReadOnlyAdmin):
    """Halts of trading. Set and released by the buttons; rows are history."""

    list_display = ("shown", "state", "reason", "set_by", time_column("set_at", "Set"),
                    time_column("released_at", "Released"))  # fmt: skip
    list_filter = (("scope", ChoicesDropdownFilter), ("mode", ChoicesDropdownFilter))
    list_select_related = ("feed", "user", "connection", "set_by")
    search_fields = ("reason", "feed__name", "user__username", "connection__name")
    ordering = ("-id",)

    @admin.display(description="What")
    def shown(self, switch: KillSwitch) -> str:
        named = switch.feed or switch.user or switch.connection
        return f"{switch.get_scope_display().title()} {named or ''}".strip()

    @admin.display(description="State")
    def state(self, switch: KillSwitch) -> SafeString:
        if switch.released_at:
            return badge("cancelled", "Released")
        total = switch.mode == "HALTED"
        return badge("naked", "Halted") if total else badge("attention", "Reducing")


@admin.register(Epoch)
class EpochAdmin(ReadOnlyAdmin):
    """Restores and failovers: each begins a new life of the database."""

    page_list = True
    list_display = ("shown", "state", "cause", "opened_at", "opened_by", "released_at")
    list_filter = (("cause", ChoicesDropdownFilter),)
    ordering = ("-number",)

    @admin.display(description="Epoch", ordering="number")
    def shown(self, epoch: Epoch) -> str:
        return str(epoch.number)

    @admin.display(description="State")
    def state(self, epoch: Epoch) -> SafeString:
        if epoch.released_at is None:
            return badge("attention", "Open")
        founded = epoch.cause == Epoch.Cause.FOUNDED
        return badge("ok", "First life") if founded else badge("ok", "Released")
