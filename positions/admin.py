"""Positions in the admin: a read-only list with current values. A position's page: console."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from common.money import plain
from common.web.admin import BigTableAdmin, read_id
from common.web.badges import amount, badge
from common.web.formatting import gain, units_of
from positions.models import ExecutionPosition
from positions.selectors import UNPROTECTED, protection, with_prices


class OpenFilter(admin.SimpleListFilter):
    """Open or closed positions."""

    title = "state"
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Open"), ("no", "Closed")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ExecutionPosition]
    ) -> QuerySet[ExecutionPosition]:
        if self.value() == "yes":
            return queryset.filter(quantity__gt=0)
        return queryset.filter(closed_at__isnull=False) if self.value() == "no" else queryset


class ProtectionFilter(admin.SimpleListFilter):
    """Open positions by who holds their stop."""

    title = "protection"
    parameter_name = "protection"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("unprotected", "Unprotected"),
            ("engine", "Stop monitored by us"),
            ("broker", "Stop at the broker"),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ExecutionPosition]
    ) -> QuerySet[ExecutionPosition]:
        with_stop = queryset.filter(quantity__gt=0, sl__isnull=False)
        choices = {
            "unprotected": queryset.filter(UNPROTECTED),
            "engine": with_stop.filter(sl_guardian="ENGINE"),
            "broker": with_stop.filter(sl_guardian="BROKER", broker_sl__isnull=False),
        }
        return choices.get(self.value() or "", queryset)


@admin.register(ExecutionPosition)
class ExecutionPositionAdmin(BigTableAdmin):
    """All positions. Closing one is on its own page."""

    page_list = True
    list_display = ("label", "account", "open_quantity", "entry", "now", "unrealized", "realized",
                    "protected", "opened_at")  # fmt: skip
    list_filter = (OpenFilter, ProtectionFilter, ("side", ChoicesDropdownFilter),
                   ("close_reason", ChoicesDropdownFilter))  # fmt: skip
    list_select_related = ("connection__snapshot",)
    ordering = ("-id",)
    search_fields = ("pair",)
    search_help_text = "P-number, symbol, or an account's name or number"

    def get_queryset(self, request: HttpRequest) -> QuerySet[ExecutionPosition]:
        return with_prices(super().get_queryset(request))

    def search_exact(self, queryset: Any, term: str) -> Any:
        if (pk := read_id(term, "P")) is not None and term.upper().startswith("P"):
            return queryset.filter(pk=pk)
        return queryset.filter(
            Q(pair__iexact=term) | Q(connection__account=term) | Q(connection__name__icontains=term)
        )

    @admin.display(description="Position")
    def label(self, position: ExecutionPosition) -> str:
        return f"P-{position.pk} · {position.side.title()} {position.pair}"

    @admin.display(description="Account")
    def account(self, position: ExecutionPosition) -> str:
        return f"{position.connection.name} · {position.connection.account}"

    @admin.display(description="Open")
    def open_quantity(self, position: ExecutionPosition) -> SafeString:
        return amount(position.quantity, unit=units_of(position.pair))

    @admin.display(description="Entry")
    def entry(self, position: ExecutionPosition) -> str:
        return plain(position.entry_price)

    @admin.display(description="Now")
    def now(self, position: ExecutionPosition) -> str:
        return plain(getattr(position, "current_price", None)) if position.is_open else ""

    @admin.display(description="Unrealized")
    def unrealized(self, position: ExecutionPosition) -> SafeString:
        open_pnl = getattr(position, "unrealized_pnl", None) if position.is_open else None
        return _profit(open_pnl, position)

    @admin.display(description="Realized")
    def realized(self, position: ExecutionPosition) -> SafeString:
        return _profit(position.realized_pnl, position)

    @admin.display(description="Protection")
    def protected(self, position: ExecutionPosition) -> SafeString:
        return badge(*protection(position))


def _profit(value: Any, position: ExecutionPosition) -> SafeString:
    """Return a profit or loss with its sign, colour and the decimals of its currency."""
    css = "" if not value else "fc-up" if value > 0 else "fc-down"
    shown = gain(value, position.connection.account_currency)
    return format_html('<span class="fc-n {}">{}</span>', css, shown)
