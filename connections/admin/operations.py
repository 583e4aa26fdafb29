"""What stops or delays trading: hosts that are down, maintenance, halts and epochs."""

from django.contrib import admin
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from common.permissions import Right
from common.web.admin import ConsoleAdmin, ReadOnlyAdmin, time_column
from common.web.badges import badge
from connections.models import Epoch, HostCircuit, KillSwitch, MaintenanceWindow


@admin.register(HostCircuit)
class HostCircuitAdmin(ReadOnlyAdmin):
    """Broker hosts that did not answer: entries wait while the circuit is open."""

    list_display = ("host", "state", "unanswered", "message", "opened_at", "closed_at")
    search_fields = ("host",)
    ordering = ("closed_at", "host")

    @admin.display(description="State")
    def state(self, circuit: HostCircuit) -> SafeString:
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
        if epoch.released_at is None:
            return badge("attention", "Open")
        is_first = epoch.cause == Epoch.Cause.FOUNDED
        return badge("ok", "First epoch") if is_first else badge("ok", "Released")
