"""Operators' list of accounts, and the instruments that their brokers list."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RelatedDropdownFilter

from common.permissions import Right
from common.reason_codes import Code
from common.web.admin import ConsoleAdmin, ReadOnlyAdmin, time_column
from common.web.badges import badge
from common.web.formatting import number
from connections.models import ExecutionConnection, Instrument
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
    list_display = ("name", "broker", "account", "owner", "status", "preset",
                    time_column("health__last_tested_at", "Tested"),
                    time_column("health__last_used_at", "Last used"))  # fmt: skip
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
        return badge(*health_badge(connection))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a connection is changed on its own page, by services."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a connection is archived, and its history stays."""
        return False


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
    exclude = ("hours", "price_steps")
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
