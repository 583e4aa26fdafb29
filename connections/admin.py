"""Operators' lists of accounts, presets, subscriptions, hosts and kill switches.

The pages of a single connection are in `console/`.
"""

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
    """Filters accounts by whether they would take the next signal, or by the reason why not."""

    title = "takes the next signal"
    parameter_name = "trades"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the choices: yes, no, or a single reason."""
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
        """Return the accounts that match the choice."""
        choice = self.value()
        if not choice:
            return queryset
        reasons = skip_reasons().items()
        if choice == "no":
            matching = {pk for pk, reason in reasons if reason}
        else:
            matching = {
                pk for pk, reason in reasons if reason == ("" if choice == "yes" else choice)
            }
        return queryset.filter(pk__in=matching)


@admin.register(ExecutionConnection)
class ExecutionConnectionAdmin(ConsoleAdmin):
    """Broker accounts with their health. They are added and changed on the pages in `console/`."""

    change_right = Right.CONNECTIONS
    page_list = True
    actions = None
    list_display = ("name", "broker", "account", "owner", "status", "preset", "tested", "used")
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
        """Return the accounts with the columns that their health badge needs."""
        connections: QuerySet[ExecutionConnection] = super().get_queryset(request)
        return with_display_columns(connections).defer("sealed_credentials")

    @admin.display(description="Broker", ordering="type")
    def broker(self, connection: ExecutionConnection) -> str:
        """Return the broker type and the exchange."""
        return " · ".join(filter(None, (connection.type, connection.exchange_name)))

    @admin.display(description="Owner")
    def owner(self, connection: ExecutionConnection) -> str:
        """Return the tenant, or the administrator whose account takes all signals."""
        return str(connection.user or f"{connection.admin}, all signals")

    @admin.display(description="Health")
    def status(self, connection: ExecutionConnection) -> SafeString:
        """Return the health badge."""
        return badge(*health_badge(connection))

    @admin.display(description="Tested", ordering="health__last_tested_at")
    def tested(self, connection: ExecutionConnection) -> Any:
        """Return when it was last tested."""
        return connection.health.last_tested_at

    @admin.display(description="Last used", ordering="health__last_used_at")
    def used(self, connection: ExecutionConnection) -> Any:
        """Return when an order was last sent."""
        return connection.health.last_used_at

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a connection is changed on its own page, by services."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a connection is archived, and its history stays."""
        return False


@admin.register(TradingPreset)
class TradingPresetAdmin(ConsoleAdmin):
    """Presets for sizing and limits."""

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
    """The times in which a subscription was active."""

    model = SubscriptionInterval
    fields = ("started_at", "ended_at")
    readonly_fields = fields


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    """Subscriptions of connections to feeds."""

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
        """Return the connection's name."""
        return row.connection.name

    @admin.display(description="State")
    def state(self, row: Subscription) -> SafeString:
        """Return the badge of the subscription's state."""
        if row.archived_at:
            return badge("cancelled", "Ended")
        if row.expires_at and row.expires_at <= market_now():
            return badge("expired", "Expired")
        return badge("paused", "Paused") if row.is_paused else badge("ok", "Active")


@admin.register(Instrument)
class InstrumentAdmin(ReadOnlyAdmin):
    """The instruments that brokers list."""

    list_display = ("symbol", "pair", "book", "digits", "pip", "quantity_min", "quantity_step",
                    "units_in_a_lot", "read_at")  # fmt: skip
    list_filter = ("book", "is_preferred")
    search_fields = ("symbol", "pair")

    @admin.display(description="Units in a lot", ordering="contract_size")
    def units_in_a_lot(self, instrument: Instrument) -> str:
        """Return the contract size: our quantities are base units, brokers' programs use lots."""
        return number(instrument.contract_size)


@admin.register(HostCircuit)
class HostCircuitAdmin(ReadOnlyAdmin):
    """Broker hosts that did not answer: entries wait while the circuit is open."""

    list_display = ("host", "state", "unanswered", "message", "opened_at", "closed_at")
    search_fields = ("host",)
    ordering = ("closed_at", "host")

    @admin.display(description="State")
    def state(self, circuit: HostCircuit) -> SafeString:
        """Return the badge of the circuit's state."""
        return badge("rejected", "Down") if circuit.opened_at else badge("ok", "Up")

    @admin.display(description="Did not answer")
    def unanswered(self, circuit: HostCircuit) -> str:
        """Return how many of the contacted accounts did not answer."""
        return f"{circuit.failing:,} of {circuit.contacted:,}"


@admin.register(MaintenanceWindow)
class MaintenanceWindowAdmin(ConsoleAdmin):
    """Operators' maintenance windows, in addition to those that brokers publish
    (brokers/maintenance_windows.py)."""

    change_right = Right.MAINTENANCE
    list_display = ("note", "scope", "when", "minutes", "is_closed", "is_active")
    list_filter = ("is_active", "broker_type")
    search_fields = ("note", "broker_type", "exchange_name", "host")
    ordering = ("broker_type", "exchange_name", "host", "starts_at")
    fieldsets = (
        (None, {"fields": ("note", "is_active")}),
        ("Applies to", {"fields": (("broker_type", "exchange_name"), "host")}),
        ("When", {"fields": (("weekday", "on_date"), ("starts_at", "zone"), "minutes",
                             "is_closed")}),
    )  # fmt: skip

    @admin.display(description="Applies to")
    def scope(self, window: MaintenanceWindow) -> str:
        """Return the broker, exchange and host that it is limited to."""
        parts = (window.broker_type, window.exchange_name, window.host)
        return " · ".join(filter(None, parts)) or "all brokers"

    @admin.display(description="When")
    def when(self, window: MaintenanceWindow) -> str:
        """Return the day and the local time of its start."""
        day = window.on_date or window.get_weekday_display() or "every day"
        return f"{day}, {window.starts_at:%H:%M} {window.zone}"


@admin.register(KillSwitch)
class KillSwitchAdmin(ReadOnlyAdmin):
    """Halts of trading. Buttons set and release them; rows are never deleted."""

    list_display = (
        *("target", "state", "reason", "set_by"),
        *(time_column("set_at", "Set"), time_column("released_at", "Released")),
    )
    list_filter = (("scope", ChoicesDropdownFilter), ("mode", ChoicesDropdownFilter))
    list_select_related = ("feed", "user", "connection", "set_by")
    search_fields = ("reason", "feed__name", "user__username", "connection__name")
    ordering = ("-id",)

    @admin.display(description="Target")
    def target(self, switch: KillSwitch) -> str:
        """Return the scope and the halted feed, user or connection."""
        halted = switch.feed or switch.user or switch.connection
        return f"{switch.get_scope_display().title()} {halted or ''}".strip()

    @admin.display(description="State")
    def state(self, switch: KillSwitch) -> SafeString:
        """Return the badge of the halt's state."""
        if switch.released_at:
            return badge("cancelled", "Released")
        is_total = switch.mode == "HALTED"
        return badge("unprotected", "Halted") if is_total else badge("attention", "Reducing")


@admin.register(Epoch)
class EpochAdmin(ReadOnlyAdmin):
    """Epochs: each restore and failover of the database begins one."""

    page_list = True
    list_display = ("epoch_number", "state", "cause", "opened_at", "opened_by", "released_at")
    list_filter = (("cause", ChoicesDropdownFilter),)
    ordering = ("-number",)

    @admin.display(description="Epoch", ordering="number")
    def epoch_number(self, epoch: Epoch) -> str:
        """Return the number without separators."""
        return str(epoch.number)

    @admin.display(description="State")
    def state(self, epoch: Epoch) -> SafeString:
        """Return the badge of the epoch's state."""
        if epoch.released_at is None:
            return badge("attention", "Open")
        is_first = epoch.cause == Epoch.Cause.FOUNDED
        return badge("ok", "First epoch") if is_first else badge("ok", "Released")
