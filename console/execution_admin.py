"""Read-only admin lists of orders, fills, logs, drift items and processes. Pages: `console/`."""

from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from analytics.orders.reasons import reason_of
from common.limit_figures import read_figures, text_with_detail
from common.money import plain
from common.spellings import spellings_of
from common.units import unit_label
from common.web.admin import (
    BigTableAdmin,
    ReadOnlyAdmin,
    among_newest,
    link,
    read_id,
    read_uuid,
    time_column,
)
from common.web.badges import amount, badge, code, state_badge
from common.web.formatting import (
    STATES,
    gain_amount,
    known_code,
    sentence,
    signed,
    statuses_of,
    units_of,
)
from common.web.formatting import age as format_age
from connections.models import ExecutionConnection
from execution.models import (
    DriftItem,
    DroppedMessageCount,
    DroppedMessageCountQuerySet,
    ExecutionLog,
    Fill,
    Order,
    ScopedAction,
    WorkerLease,
)
from execution.reconciliation import presentation as drift_presentation

FOUND_ORDERS = 2_000  # orders whose log a search by account returns
FOUND_CONNECTIONS = 200  # accounts that a search returns


def connections_like(term: str) -> list[Any]:
    """Return the ids of the accounts whose name, number or owner matches a search term."""
    matching = (
        ExecutionConnection.objects.filter(account=term)
        | ExecutionConnection.objects.filter(name__icontains=term)
        | ExecutionConnection.objects.filter(user__username__in=spellings_of(term))
    )
    return list(matching.values_list("pk", flat=True)[:FOUND_CONNECTIONS])


def by_order_id(orders: Any, table: BigTableAdmin, term: str) -> Any:
    """Return the orders with this client order id, else the newest with this broker order id.

    None: there are none.
    """
    if (by_exact_id := orders.filter(client_order_id=term)).exists():
        return by_exact_id
    newest = table.among_newest(orders, broker_order_id=term)
    return newest if newest.exists() else None


class ShareFilter(admin.SimpleListFilter):
    """Filters by a group of statuses that a signal's summary counts together."""

    title = "part of the sum"
    parameter_name = "share"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("working", "Working: being sent or at a broker")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        share = self.value()
        return queryset.filter(status__in=statuses_of(share)) if share else queryset


class LegFilter(admin.SimpleListFilter):
    """Filters entries or exits."""

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
    """Orders, one row per leg."""

    page_list = True
    list_display = ("shown", "account", "state", "why", "quantity_shown", "price", "slippage",
                    time_column("created_at", "Created"))  # fmt: skip
    list_filter = (("status", ChoicesDropdownFilter), ShareFilter, LegFilter)
    list_select_related = ("connection",)
    ordering = ("-id",)
    search_fields = ("id",)
    search_help_text = "O-number, S-number, client or broker order id, account, or its owner"

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return all orders; `id > 0` lets a list of the pending ones use `order_pending`."""
        return super().get_queryset(request).filter(id__gt=0)

    def search_exact(self, queryset: Any, term: str) -> Any:
        upper = term.upper()
        if upper.startswith("S") and (signal := read_id(term, "S")) is not None:
            return queryset.filter(signal_id=signal, leg__startswith="entry")
        if upper.startswith("O") and (pk := read_id(term, "O")) is not None:
            return queryset.filter(pk=pk)
        if (matching := by_order_id(queryset, self, term)) is not None:
            return matching
        return queryset.filter(connection_id__in=connections_like(term))

    @admin.display(description="Order", ordering="id")
    def shown(self, order: Order) -> str:
        return f"O-{order.pk} · {order.side.title()} {order.pair}, {order.leg}"

    @admin.display(description="Account")
    def account(self, order: Order) -> str:
        return f"{order.connection.name} · {order.connection.account}"

    @admin.display(description="State", ordering="status")
    def state(self, order: Order) -> SafeString:
        return state_badge(order.status)

    @admin.display(description="Reason")
    def why(self, order: Order) -> SafeString:
        return code(reason_of(order).code)

    @admin.display(description="Quantity")
    def quantity_shown(self, order: Order) -> SafeString:
        return amount(order.quantity, unit=units_of(order.pair))

    @admin.display(description="Price")
    def price(self, order: Order) -> str:
        return plain(order.avg_fill_price)

    @admin.display(description="Slippage")
    def slippage(self, order: Order) -> str:
        if order.slippage_pips is None:
            return ""
        return f"{signed(order.slippage_pips, 1)} {unit_label(order.slippage_unit)}"


@admin.register(Fill)
class FillAdmin(BigTableAdmin):
    """Fills, one row per execution."""

    list_display = ("broker_fill_id", "order_link", "side", "quantity_shown", "price_shown",
                    "commission_shown", "inferred", "time")  # fmt: skip
    list_filter = ("inferred", ("side", ChoicesDropdownFilter))
    list_select_related = ("order__connection__snapshot",)
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
        return amount(fill.quantity, unit=units_of(fill.order.pair))

    @admin.display(description="Price")
    def price_shown(self, fill: Fill) -> str:
        return plain(fill.price)

    @admin.display(description="Commission")
    def commission_shown(self, fill: Fill) -> str:
        charged = f"{signed(-fill.commission, None)} {fill.commission_currency}".strip()
        if fill.commission and fill.commission_rate is None:
            return f"{charged}, not converted"
        converted = fill.commission_converted if fill.commission_rate_at else None
        if converted is None:
            return charged
        return f"{charged} = {gain_amount(-converted, fill.order.connection.account_currency)}"


class LogStateFilter(admin.SimpleListFilter):
    """Filters by the status that a line led to, among the newest lines: no index has it."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        shown = [(status, state.word) for status, state in STATES.items()]
        return [("trouble", "Rejected, failed, denied or unknown"), *shown]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ExecutionLog]
    ) -> QuerySet[ExecutionLog]:
        value = self.value()
        if not value:
            return queryset
        trouble = ["REJECTED", "FAILED", "DENIED", "UNKNOWN"]
        states = trouble if value == "trouble" else [value]
        entries: QuerySet[ExecutionLog] = among_newest(ExecutionLog, queryset, status__in=states)
        return entries


class LogBrokerFilter(admin.SimpleListFilter):
    """Filters by the account's broker type, among the newest lines."""

    title = "broker type"
    parameter_name = "broker"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        types = ExecutionConnection.objects.order_by("type").values_list("type", flat=True)
        return [(broker_type, broker_type.upper()) for broker_type in types.distinct()]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ExecutionLog]
    ) -> QuerySet[ExecutionLog]:
        if not self.value():
            return queryset
        accounts = ExecutionConnection.objects.filter(type=self.value()).values("pk")
        entries: QuerySet[ExecutionLog] = among_newest(
            ExecutionLog, queryset, connection_id__in=accounts
        )
        return entries


@admin.register(ExecutionLog)
class ExecutionLogAdmin(BigTableAdmin):
    """The execution log: one line for each attempt and transition; never changed."""

    list_display = ("at", "account", "order_link", "signal_link", "code_shown", "state",
                    "quantity", "price", "detail_shown")  # fmt: skip
    list_filter = (LogStateFilter, LogBrokerFilter)
    ordering = ("-id",)
    list_display_links = ("at",)
    search_fields = ("order_id",)
    search_help_text = (
        "O-number, S-number, account number, name or owner, client or broker order id, reason code"
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ExecutionLog]:
        account = ExecutionConnection.objects.filter(pk=OuterRef("connection_id"))
        order = Order.objects.filter(pk=OuterRef("order_id"))
        price = Coalesce("avg_fill_price", "limit_price", "stop_price", "expected_price")
        entries: QuerySet[ExecutionLog] = super().get_queryset(request)
        return entries.annotate(
            account_name=Subquery(account.values("name")),
            account_number=Subquery(account.values("account")),
            order_quantity=Subquery(order.values("quantity")),
            order_pair=Subquery(order.values("pair")),
            order_price=Subquery(order.annotate(shown_price=price).values("shown_price")),
        )

    def search_exact(self, queryset: Any, term: str) -> Any:
        upper = term.upper()
        if upper.startswith("S") and (signal := read_id(term, "S")) is not None:
            return self._of_orders(queryset, Order.objects.filter(signal_id=signal))
        if upper.startswith("O") and (order := read_id(term, "O")) is not None:
            return queryset.filter(order_id=order)
        if known_code(upper):
            return self.among_newest(queryset, code=upper)
        if connection := read_uuid(term):
            return self.among_newest(queryset, connection_id=connection)
        orders = OrderAdmin(Order, self.admin_site)
        if (matching := by_order_id(Order.objects.all(), orders, term)) is not None:
            return self._of_orders(queryset, matching)
        if accounts := connections_like(term):
            return self._of_orders(queryset, Order.objects.filter(connection__in=accounts))
        number = read_id(term, "")  # a number may be an order's id
        return queryset.none() if number is None else queryset.filter(order_id=number)

    @staticmethod
    def _of_orders(queryset: Any, orders: QuerySet[Order]) -> Any:
        newest = orders.order_by("-pk").values_list("pk", flat=True)[:FOUND_ORDERS]
        return queryset.filter(order_id__in=list(newest))

    @admin.display(description="Account")
    def account(self, line: Any) -> SafeString | str:
        name = " · ".join(filter(None, (line.account_name, line.account_number)))
        known = line.connection_id if line.account_name else None
        return link("admin:connections_executionconnection_page", known, name)

    @admin.display(description="Quantity")
    def quantity(self, line: Any) -> SafeString:
        return amount(line.order_quantity, unit=units_of(line.order_pair or ""))

    @admin.display(description="Price")
    def price(self, line: Any) -> str:
        return plain(line.order_price)

    @admin.display(description="Order")
    def order_link(self, line: ExecutionLog) -> Any:
        return link("admin:execution_order_page", line.order_id, f"O-{line.order_id}")

    @admin.display(description="Signal")
    def signal_link(self, line: ExecutionLog) -> Any:
        return link("admin:signals_signal_page", line.signal_id, f"S-{line.signal_id}")

    @admin.display(description="Code")
    def code_shown(self, line: ExecutionLog) -> SafeString:
        return code(line.code)

    @admin.display(description="Detail")
    def detail_shown(self, line: ExecutionLog) -> str:
        return text_with_detail(read_figures(line.code, line.numbers), line.detail)

    @admin.display(description="State")
    def state(self, line: ExecutionLog) -> Any:
        return state_badge(line.status) if line.status in STATES else line.status


@admin.register(DriftItem)
class DriftItemAdmin(ReadOnlyAdmin):
    """Drift items: differences between us and a broker, open ones first."""

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
        return f"{item.connection.name} · {item.connection.account}"

    @admin.display(description="Ours and the broker’s")
    def differs(self, item: DriftItem) -> str:
        return drift_presentation.summary(item)

    @admin.display(description="Age", ordering="found_at")
    def age(self, item: DriftItem) -> str:
        until = item.resolved_at or timezone.now()
        return format_age((until - item.found_at).total_seconds())


@admin.register(DroppedMessageCount)
class DroppedMessageCountAdmin(ReadOnlyAdmin):
    """Counts of dropped messages and reports, with the newest sample of each."""

    list_display = ("message", "times", "sample", "sampled_at")
    list_display_links = None

    def get_queryset(self, request: HttpRequest) -> DroppedMessageCountQuerySet:
        return DroppedMessageCount.objects.summed()

    @admin.display(description="What", ordering="name")
    def message(self, dropped: DroppedMessageCount) -> str:
        return dropped.get_name_display()

    @admin.display(description="Times", ordering="total")
    def times(self, dropped: Any) -> int:
        return int(dropped.total)


@admin.register(ScopedAction)
class ScopedActionAdmin(ReadOnlyAdmin):
    """What was cancelled and closed at once, by whom. Rows are never changed."""

    list_display = ("done", "scope_name", "entries", "exits_shown", "by", time_column("at", "At"))
    list_filter = ("cancels_entries", "closes_positions")
    list_select_related = ("user",)
    search_fields = ("scope_name", "user__username")
    ordering = ("-id",)

    @admin.display(description="Done")
    def done(self, action: ScopedAction) -> str:
        if action.cancels_entries and action.closes_positions:
            return "Cancelled and closed"
        return "Cancelled" if action.cancels_entries else "Closed"

    @admin.display(description="Entries")
    def entries(self, action: ScopedAction) -> SafeString:
        return amount(len(action.cancelled))

    @admin.display(description="Exit orders")
    def exits_shown(self, action: ScopedAction) -> SafeString:
        return amount(len(action.exits))

    @admin.display(description="By")
    def by(self, action: ScopedAction) -> str:
        return action.user.get_username() if action.user else "a command"


@admin.register(WorkerLease)
class WorkerLeaseAdmin(ReadOnlyAdmin):
    """Trading processes, with the end of their leases."""

    list_display = ("id", "role", "host", "pid", "lease_until", "started_at")
    list_filter = ("role", "host")
    search_fields = ("id", "host")
