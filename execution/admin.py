"""Orders, logs, drift and processes: written by machines, read here. Pages: config/console."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from common.admin import BigTableAdmin, ReadOnlyAdmin, link, read_id, read_uuid
from common.markup import amount, badge, code, state_badge
from common.money import plain
from common.shown import STATES, sentence, signed, statuses_of
from common.shown import age as shown_age
from connections.models import ExecutionConnection
from execution.drift import words as drift_words
from execution.models import DriftItem, ExecutionLog, Fill, Order, Tally, TallyQuerySet, WorkerLease

FOUND_CONNECTIONS = 200  # a search by account looks at that many accounts


def connections_like(term: str) -> list[Any]:
    """The accounts whose name, number or owner fits a search term."""
    like = (
        ExecutionConnection.objects.filter(account=term)
        | ExecutionConnection.objects.filter(name__icontains=term)
        | ExecutionConnection.objects.filter(user__username=term)
    )
    return list(like.values_list("pk", flat=True)[:FOUND_CONNECTIONS])


class ShareFilter(admin.SimpleListFilter):
    """Several states that count as one part of a signal's sum."""

    title = "part of the sum"
    parameter_name = "share"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("working", "Working: on its way or at a broker")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        share = self.value()
        return queryset.filter(status__in=statuses_of(share)) if share else queryset


class LegFilter(admin.SimpleListFilter):
    title = "leg"
    parameter_name = "leg"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("entry", "Entries"), ("exit", "Exits")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        if self.value() == "entry":
            return queryset.filter(leg__startswith="entry")
        return queryset.exclude(leg__startswith="entry") if self.value() else queryset


@admin.register(Order)
class OrderAdmin(BigTableAdmin):
    """One row for one leg; it is the job."""

    page_list = True
    list_display = ("shown", "account", "state", "why", "quantity_shown", "price", "slippage",
                    "created_at")  # fmt: skip
    list_filter = (("status", ChoicesDropdownFilter), ShareFilter, LegFilter)
    list_select_related = ("connection",)
    ordering = ("-id",)
    search_fields = ("id",)
    search_help_text = "O-number, S-number, client or broker order id, account, or its owner"

    def search_exact(self, queryset: Any, term: str) -> Any:
        upper = term.upper()
        if upper.startswith("S") and (signal := read_id(term, "S")) is not None:
            return queryset.filter(signal_id=signal, leg__startswith="entry")
        if upper.startswith("O") and (pk := read_id(term, "O")) is not None:
            return queryset.filter(pk=pk)
        if (found := queryset.filter(client_order_id=term)).exists():
            return found
        return queryset.filter(connection_id__in=connections_like(term))

    @admin.display(description="Order", ordering="id")
    def shown(self, order: Order) -> str:
        return f"O-{order.pk} · {order.side.title()} {order.pair}, {order.leg}"

    @admin.display(description="Account")
    def account(self, order: Order) -> str:
        return order.connection.name

    @admin.display(description="State", ordering="status")
    def state(self, order: Order) -> SafeString:
        return state_badge(order.status)

    @admin.display(description="Reason")
    def why(self, order: Order) -> SafeString:
        return code(order.reason)

    @admin.display(description="Quantity")
    def quantity_shown(self, order: Order) -> SafeString:
        return amount(order.quantity)

    @admin.display(description="Price")
    def price(self, order: Order) -> str:
        return plain(order.avg_fill_price)

    @admin.display(description="Slippage, pips")
    def slippage(self, order: Order) -> str:
        return signed(order.slippage_pips, 1)


@admin.register(Fill)
class FillAdmin(BigTableAdmin):
    """Executions, each counted once."""

    list_display = ("broker_fill_id", "order_link", "side", "quantity_shown", "price_shown",
                    "commission_shown", "inferred", "time")  # fmt: skip
    list_filter = ("inferred", ("side", ChoicesDropdownFilter))
    ordering = ("-id",)
    search_fields = ("broker_fill_id",)
    search_help_text = "O-number, or an account"

    def search_exact(self, queryset: Any, term: str) -> Any:
        if term.upper().startswith("O") and (pk := read_id(term, "O")) is not None:
            return queryset.filter(order_id=pk)
        return queryset.filter(connection_id__in=connections_like(term))

    @admin.display(description="Order")
    def order_link(self, fill: Fill) -> Any:
        return link("admin:execution_order_page", fill.order_id, f"O-{fill.order_id}")

    @admin.display(description="Quantity")
    def quantity_shown(self, fill: Fill) -> SafeString:
        return amount(fill.quantity)

    @admin.display(description="Price")
    def price_shown(self, fill: Fill) -> str:
        return plain(fill.price)

    @admin.display(description="Commission")
    def commission_shown(self, fill: Fill) -> str:
        told = f"{signed(-fill.commission, None)} {fill.commission_currency}".strip()
        if fill.commission and fill.commission_rate is None:
            return f"{told}, no rate: in no result"
        converted = fill.commission_converted if fill.commission_rate_at else None
        return told if converted is None else f"{told} = {signed(-converted)}"


@admin.register(ExecutionLog)
class ExecutionLogAdmin(BigTableAdmin):
    """Append-only: one line for each attempt and transition."""

    list_display = ("at", "order_link", "signal_link", "code_shown", "state", "detail")
    ordering = ("-id",)
    list_display_links = ("at",)
    search_fields = ("order_id",)
    search_help_text = "O-number, or a connection's id among the newest lines"

    def search_exact(self, queryset: Any, term: str) -> Any:
        if (order := read_id(term, "O")) is not None:
            return queryset.filter(order_id=order)
        connection = read_uuid(term)
        found = self.among_newest(queryset, connection_id=connection)
        return found if connection else queryset.none()

    @admin.display(description="Order")
    def order_link(self, line: ExecutionLog) -> Any:
        return link("admin:execution_order_page", line.order_id, f"O-{line.order_id}")

    @admin.display(description="Signal")
    def signal_link(self, line: ExecutionLog) -> Any:
        return link("admin:signals_signal_page", line.signal_id, f"S-{line.signal_id}")

    @admin.display(description="Code")
    def code_shown(self, line: ExecutionLog) -> SafeString:
        return code(line.code)

    @admin.display(description="State")
    def state(self, line: ExecutionLog) -> Any:
        return state_badge(line.status) if line.status in STATES else line.status


@admin.register(DriftItem)
class DriftItemAdmin(ReadOnlyAdmin):
    """Differences between us and a broker; those that wait come first."""

    page_list = True
    list_display = ("shown", "differs", "account", "state_shown", "age")
    list_filter = (("state", ChoicesDropdownFilter), "kind")
    list_select_related = ("connection",)
    search_fields = ("connection__name", "=connection__account", "key")

    @admin.display(description="Difference")
    def shown(self, item: DriftItem) -> str:
        return sentence(item.kind)

    @admin.display(description="State", ordering="state")
    def state_shown(self, item: DriftItem) -> SafeString:
        shapes = {"OPEN": "attention", "NOTED": "pending", "RESOLVED": "ok", "IGNORED": "cancelled"}
        return badge(shapes[item.state], item.state.title())

    @admin.display(description="Connection", ordering="connection__name")
    def account(self, item: DriftItem) -> str:
        return item.connection.name

    @admin.display(description="Ours and the broker’s")
    def differs(self, item: DriftItem) -> str:
        return drift_words.summary(item)

    @admin.display(description="Age", ordering="found_at")
    def age(self, item: DriftItem) -> str:
        until = item.resolved_at or timezone.now()
        return shown_age((until - item.found_at).total_seconds())


@admin.register(Tally)
class TallyAdmin(ReadOnlyAdmin):
    """Messages and reports that were dropped, because nobody waits for them."""

    list_display = ("said", "times", "last", "last_at")
    list_display_links = None

    def get_queryset(self, request: HttpRequest) -> TallyQuerySet:
        return Tally.objects.summed()

    @admin.display(description="What", ordering="name")
    def said(self, tally: Tally) -> str:
        return tally.get_name_display()

    @admin.display(description="Times", ordering="total")
    def times(self, tally: Any) -> int:
        return int(tally.total)


@admin.register(WorkerLease)
class WorkerLeaseAdmin(ReadOnlyAdmin):
    """One row per process: until when it is believed alive."""

    list_display = ("id", "role", "host", "pid", "lease_until", "started_at")
    list_filter = ("role", "host")
    search_fields = ("id", "host")
