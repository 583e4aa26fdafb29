"""Operators' lists of accounts, presets, subscriptions, hosts and kill switches.

The pages of a single connection are in `console/`.
"""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminPasswordWidget

import connections.market_data.admin  # noqa: F401  # registers price sources
from common.admin import ConsoleAdmin, ReadOnlyAdmin, ReadOnlyInline, time_column
from common.badges import badge
from common.clocks import market_now
from common.formatting import number
from common.permissions import Right
from common.reason_codes import Code
from common.row_changes import change_row
from common.stop_rules import RULE_ROWS
from connections import services
from connections.credentials.provider_secrets import seal_secret
from connections.decisions.calendars import MAX_BYTES as MAX_CALENDAR_BYTES
from connections.decisions.calendars import read_calendar
from connections.models import (
    CashFlow,
    DecisionProvider,
    Epoch,
    ExecutionConnection,
    HostCircuit,
    Instrument,
    KillSwitch,
    LossLimit,
    MaintenanceWindow,
    NewsCalendar,
    Subscription,
    SubscriptionInterval,
    SubscriptionRoute,
    TradingPause,
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
            Code.ENTRIES_HALTED, Code.LOSS_LIMIT, Code.DRAWDOWN_LIMIT, Code.REALIZED_LOSS_LIMIT,
            Code.LOSING_STREAK,
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
                        ("percent_of_balance", "percent_of_equity", "fixed_amount"),
                        ("risk_amount", "per_balance"), "multiplier",
                        ("small_multiplier", "normal_multiplier", "large_multiplier"),
                        ("small_risk_percent", "normal_risk_percent", "large_risk_percent"),
                        "allow_minimum_quantity")},
        ),
        (
            "Limits",
            {"fields": (("max_quantity", "max_open_positions"),
                        ("max_leverage", "max_portfolio_risk_percent", "max_trade_risk_percent"),
                        ("max_slippage_pips", "slippage_alert_threshold_pips", "slippage_unit"),
                        ("max_spread", "max_spread_unit"),
                        ("max_price_deviation_percent", "max_level_deviation_percent"),
                        ("max_symbol_exposure_percent", "max_currency_exposure_percent",
                         "correlated_exposure_warning_percent"),
                        ("max_open_orders", "max_orders_per_minute"),
                        ("max_daily_notional", "max_daily_volume", "max_size_multiple"),
                        ("allowed_symbols", "trading_sessions"),
                        ("market_hours_only", "same_trade_window_seconds"),
                        "max_signal_age_seconds")},
        ),
        ("Decision step", {"fields": ("decision_provider",)}),
        ("Break-even and trailing", {"fields": (*RULE_ROWS, "stop_move_seconds")}),
        ("Levels and days", {"fields": (("broker_holds_stops", "stuck_policy"),
                                        ("trading_day_zone", "trading_day_start"))}),
    )  # fmt: skip


class DecisionProviderForm(forms.ModelForm):  # type: ignore[type-arg]
    """A provider with its secret, which is only entered, never shown."""

    secret = forms.CharField(
        required=False, min_length=16, max_length=200, strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Signs the requests to the URL; at least 16 characters. Empty: it stays.",
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        """Seal the secret, before the constraints of the row are checked."""
        values = super().clean() or self.cleaned_data
        if secret := values.get("secret"):
            self.instance.user = values.get("user")
            self.instance.secret_sealed = seal_secret(secret, self.instance)
        return values


@admin.register(DecisionProvider)
class DecisionProviderAdmin(ConsoleAdmin):
    """Decision providers: who may reject or scale entries before they are sent."""

    form = DecisionProviderForm
    change_right = Right.LIMITS
    list_display = ("name", "user", "kind", "on_failure", "timeout_seconds", "max_age_seconds")
    list_filter = (("kind", ChoicesDropdownFilter), ("on_failure", ChoicesDropdownFilter))
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    autocomplete_fields = ("user", "calendar")
    fieldsets = (
        (None, {"fields": (("name", "user"), ("kind", "on_failure"),
                           ("timeout_seconds", "max_age_seconds"), "candle_minutes")}),
        (
            "Rules",
            {"fields": (("max_spread", "max_spread_unit", "max_spread_percentile"),
                        ("min_atr_percent", "max_atr_percent"), ("sessions", "session_zone"),
                        ("calendar", "news_impact"), ("news_minutes_before", "news_minutes_after"),
                        "broken_rule_factor")},
        ),
        ("Your own web service", {"fields": ("url", "secret")}),
        ("Installed package", {"fields": ("entry_point",)}),
    )  # fmt: skip

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write what was changed on the page, with a new secret."""
        super().save_model(request, obj, form, change)
        if change and form.cleaned_data.get("secret"):
            change_row(obj, {"secret_sealed": obj.secret_sealed})

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return the owner for a provider that exists: its secret is bound to them."""
        return ("user",) if obj is not None else ()


class NewsCalendarForm(forms.ModelForm):  # type: ignore[type-arg]
    """A calendar with a file of its events, which replaces all of them."""

    file = forms.FileField(
        required=False, widget=UnfoldAdminFileFieldWidget,
        help_text="CSV with the columns time, currency, impact and title. It replaces all events.",
    )  # fmt: skip

    def clean_file(self) -> bytes | None:
        """Return the file's bytes. Raises ValidationError with all its faults."""
        uploaded = self.cleaned_data.get("file")
        if uploaded is None:
            return None
        if uploaded.size > MAX_CALENDAR_BYTES:
            raise ValidationError(f"The file has more than {MAX_CALENDAR_BYTES} bytes.")
        data: bytes = uploaded.read()
        if faults := read_calendar(data)[1]:
            raise ValidationError(faults[:100])
        return data


@admin.register(NewsCalendar)
class NewsCalendarAdmin(ConsoleAdmin):
    """Imported news calendars, for rules about news."""

    form = NewsCalendarForm
    change_right = Right.LIMITS
    list_display = ("name", "user", "event_count", "starts_at", "ends_at", "imported_at")
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    autocomplete_fields = ("user",)
    fields = ("name", "user", "file")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write the calendar, and replace its events by those of the file."""
        super().save_model(request, obj, form, change)
        if data := form.cleaned_data.get("file"):
            by: Any = request.user
            services.import_calendar(obj.pk, data, by=by)


@admin.register(LossLimit)
class LossLimitAdmin(ConsoleAdmin):
    """Loss limits of presets and subscriptions."""

    change_right = Right.LIMITS
    list_display = ("name", "target", "maximum", "unit", "action", "resume")
    list_filter = (
        ("window", ChoicesDropdownFilter),
        ("measure", ChoicesDropdownFilter),
        ("preset", RelatedDropdownFilter),
    )
    list_select_related = ("preset", "subscription__connection", "subscription__feed")
    search_fields = ("preset__name", "subscription__connection__name")
    autocomplete_fields = ("preset", "subscription")
    fieldsets = (
        ("Applies to", {"fields": (("preset", "subscription"),)}),
        ("Loss", {"fields": (("measure", "basis"), "window", ("maximum", "unit"))}),
        ("When it is reached", {"fields": (("action", "resume"), "started_at")}),
    )

    @admin.display(description="Applies to")
    def target(self, limit: LossLimit) -> str:
        """Return the preset, or the account and feed of the subscription."""
        if limit.subscription is None:
            return f"Preset {limit.preset}"
        return f"{limit.subscription.feed} on {limit.subscription.connection.name}"


@admin.register(TradingPause)
class TradingPauseAdmin(ReadOnlyAdmin):
    """Pauses that loss limits caused. A button resumes entries; rows are never deleted."""

    list_display = ("account", "state", "detail", "since", "until", "ended_at", "ended_by")
    list_filter = (("action", ChoicesDropdownFilter), "is_resumed_by_hand")
    list_select_related = ("connection", "ended_by")
    search_fields = ("connection__name", "=connection__account", "detail")
    ordering = ("-id",)

    @admin.display(description="Connection", ordering="connection__name")
    def account(self, pause: TradingPause) -> str:
        """Return the connection's name."""
        return pause.connection.name

    @admin.display(description="State")
    def state(self, pause: TradingPause) -> SafeString:
        """Return the badge of the pause's state."""
        if pause.ended_at is None:
            return badge("paused", "Paused")
        return badge("ok", "Resumed by hand" if pause.is_resumed_by_hand else "Resumed")


@admin.register(CashFlow)
class CashFlowAdmin(ConsoleAdmin):
    """Deposits and withdrawals. Operators add those that the broker does not report."""

    change_right = Right.LIMITS
    list_display = ("account", "at", "amount", "origin", "note", "created_by")
    list_filter = (("origin", ChoicesDropdownFilter),)
    list_select_related = ("connection", "created_by")
    search_fields = ("connection__name", "=connection__account", "reference")
    autocomplete_fields = ("connection",)
    fields = ("connection", "at", "amount", "note")
    actions = None

    @admin.display(description="Connection", ordering="connection__name")
    def account(self, flow: CashFlow) -> str:
        """Return the connection's name."""
        return flow.connection.name

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a wrong entry is corrected by its opposite."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a wrong entry is corrected by its opposite."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write a new row with the operator who entered it."""
        obj.origin, obj.created_by = CashFlow.Origin.OWNER, request.user
        obj.save()


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


MARKET_BADGES = {
    True: ("ok", "Open"),
    False: ("paused", "Closed"),
    None: ("pending", "Not known"),
}


def _minute(at: datetime | None) -> str:
    return f"{at:%a %d %b %Y %H:%M}" if at else ""


@admin.register(Instrument)
class InstrumentAdmin(ReadOnlyAdmin):
    """The instruments that brokers list."""

    list_display = ("symbol", "pair", "market_state", "market_until", "book", "digits", "pip",
                    "quantity_min", "quantity_step", "units_in_a_lot", "read_at")  # fmt: skip
    list_filter = ("book", "is_preferred")
    search_fields = ("symbol", "pair")
    exclude = ("hours",)
    readonly_fields = ("market_state", "market_until", "hours_by", "hours_known_until")

    @admin.display(description="Market")
    def market_state(self, instrument: Instrument) -> SafeString:
        """Return the badge of its market: open, closed or not known."""
        return badge(*MARKET_BADGES[instrument.market.is_open])

    @admin.display(description="Until (UTC)")
    def market_until(self, instrument: Instrument) -> str:
        """Return the next opening or close."""
        state = instrument.market
        return _minute(state.closes_at or state.opens_at)

    @admin.display(description="Market hours")
    def hours_by(self, instrument: Instrument) -> str:
        """Return whose hours they are."""
        return instrument.market.source_text

    @admin.display(description="Hours known until (UTC)")
    def hours_known_until(self, instrument: Instrument) -> str:
        """Return until when its hours count."""
        return _minute(instrument.market.known_until)

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
    search_fields = (
        *("reason", "feed__name", "user__username", "connection__name"),
        *("broker_type", "pair"),
    )
    ordering = ("-id",)

    @admin.display(description="Target")
    def target(self, switch: KillSwitch) -> str:
        """Return the scope and what of it is halted, such as a feed or a symbol."""
        row = switch.feed or switch.user or switch.connection
        halted = row or switch.broker_type or switch.pair
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
