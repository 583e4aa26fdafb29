"""Presets, loss limits and the pauses that they cause, and the cash flows that they exclude."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter

from common.permissions import Right
from common.stop_rules import RULE_ROWS
from common.web.admin import ConsoleAdmin, ReadOnlyAdmin
from common.web.badges import badge
from connections import services
from connections.entry_limits import ENTRY_LIMITS, Part, limits_in
from connections.models import CashFlow, LossLimit, TradingPause, TradingPreset


def _rows_of(part: Part) -> list[tuple[str, ...]]:
    """Return the limits of a part as rows of a form: each with its unit, the others by two."""
    units = {limit.unit_name for limit in ENTRY_LIMITS.values()}
    names = [name for name in limits_in(part) if name not in units]
    with_unit = [name for name in names if ENTRY_LIMITS[name].unit_name]
    others = [name for name in names if name not in with_unit]
    pairs = [tuple(others[i : i + 2]) for i in range(0, len(others), 2)]
    return [*pairs, *((name, ENTRY_LIMITS[name].unit_name) for name in with_unit)]


@admin.register(TradingPreset)
class TradingPresetAdmin(ConsoleAdmin):
    """Presets for sizing and limits. Written by the service that the portal and the API use."""

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
        *((part.value, {"fields": _rows_of(part)}) for part in Part),
        ("Age and slippage", {"fields": (("max_signal_age_seconds",
                                          "slippage_alert_threshold_pips"),)}),
        ("Decision step", {"fields": ("decision_provider",)}),
        ("Break-even and trailing", {"fields": (*RULE_ROWS, "stop_move_seconds")}),
        ("Levels and days", {"fields": (("broker_holds_stops", "stuck_policy"),
                                        ("trading_day_zone", "trading_day_start"))}),
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return the owner for a preset that exists: their accounts use it."""
        return ("user",) if obj is not None else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Create the preset, or write what was changed on the page."""
        by: Any = request.user
        if not change:
            services.create_preset(obj, by=by)
        elif changes := {name: form.cleaned_data[name] for name in form.changed_data}:
            services.change_preset(obj.pk, by=by, **changes)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete it. The page offers this only while no account uses it."""
        by: Any = request.user
        services.delete_preset(obj.pk, by=by)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[TradingPreset]) -> None:
        """Delete the chosen ones, all or none."""
        for preset in queryset:
            self.delete_model(request, preset)


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

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return what a limit that exists applies to."""
        return ("preset", "subscription") if obj is not None else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Add the limit, or write what was changed on the page."""
        by: Any = request.user
        if not change:
            services.add_loss_limit(obj, by=by)
        elif changes := {name: form.cleaned_data[name] for name in form.changed_data}:
            services.change_loss_limit(obj.pk, by=by, **changes)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete it, also from the paper twin of its subscription."""
        by: Any = request.user
        services.delete_loss_limit(obj.pk, by=by)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[LossLimit]) -> None:
        """Delete the chosen ones, all or none."""
        for limit in queryset.order_by("pk"):
            if queryset.filter(pk=limit.pk).exists():  # a paper twin's copy ends with it
                self.delete_model(request, limit)

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
        """Return the connection's name and number: many have the same name."""
        return f"{pause.connection.name} · {pause.connection.account}"

    @admin.display(description="State")
    def state(self, pause: TradingPause) -> SafeString:
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
        """Return the connection's name and number: many have the same name."""
        return f"{flow.connection.name} · {flow.connection.account}"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a wrong entry is corrected by its opposite."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a wrong entry is corrected by its opposite."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write a new row with the operator who entered it."""
        by: Any = request.user
        services.add_cash_flow(obj, by=by)
