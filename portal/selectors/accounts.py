"""A tenant's accounts: their health, what they hold, and what has to be done."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from textwrap import shorten
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.urls import reverse

from analytics.orders.page_updates import OrderUpdates, order_updates_of
from common.reason_codes import Code
from common.web.formatting import hint, sentence
from common.web.list_columns import other_columns
from connections.forms import (
    broker_type_label,
    display_settings,
    takes_credentials,
)
from connections.models import (
    AccountSnapshot,
    ConnectionHealth,
    DataConnection,
    ExecutionConnection,
    TradingPreset,
)
from connections.selectors import (
    MaintenanceNotice,
    count_open_items,
    describe_maintenance,
    describe_open_items,
    is_delivering,
    is_demo,
    is_test_pending,
    is_twin_account,
    missing_worker_message,
    open_items,
    slippage_rule,
    test_checks,
    with_display_columns,
    with_skip_reason,
)
from connections.selectors import health_badge as health_of
from portal.selectors.halts import Halt, halts_affecting
from users.models import User

FAILING = (
    Code.CONNECTION_ERROR, Code.ACCOUNT_TRADING_DISABLED, Code.ACCOUNT_ANSWER_UNUSABLE,
    Code.CONNECTION_UNREACHABLE,
)  # fmt: skip
MAX_LIST_CHARS = 250  # of an error message in a list
HALTED = (Code.TRADING_HALTED, Code.ENTRIES_HALTED)
NEXT_STEPS = {  # by reason code: the page on which the tenant removes it, and the link's text
    Code.NO_CREDENTIALS: ("credentials", "Enter credentials"),
    Code.NO_PRESET: ("account_edit", "Choose a preset"),
    Code.NO_DATA_CONNECTION: ("account", "Choose a price source"),
    Code.CONNECTION_PAUSED: ("account", "Resume"),
    Code.CONNECTION_UNTESTED: ("account", "Test the connection"),
    Code.CONNECTION_ERROR: ("account", "See what is wrong"),
    Code.ACCOUNT_TRADING_DISABLED: ("account", "See what is wrong"),
    Code.ACCOUNT_ANSWER_UNUSABLE: ("account", "See what is wrong"),
    Code.CONNECTION_UNREACHABLE: ("account", "See what is wrong"),
    Code.CIRCUIT_OPEN: ("account", "See what is wrong"),
    Code.LOSS_LIMIT: ("account", "See the limit"),
    Code.DRAWDOWN_LIMIT: ("account", "See the limit"),
    Code.REALIZED_LOSS_LIMIT: ("account", "See the limit"),
    Code.LOSING_STREAK: ("account", "See the limit"),
}


@dataclass(frozen=True, slots=True)
class Account:
    """One account. reason: the code that would skip its next signal; empty: it trades.

    paused_by_owner: only the owner's own pause of everything stops this account.
    """

    connection: Any
    reason: str
    paused_by_owner: bool = False

    @property
    def snapshot(self) -> AccountSnapshot | None:
        return getattr(self.connection, "snapshot", None)

    @property
    def state(self) -> ConnectionHealth | None:
        return getattr(self.connection, "health", None)

    @property
    def health(self) -> tuple[str, str]:
        """The badge of its health: shape and label."""
        return health_of(self.connection)

    @property
    def broker(self) -> str:
        """The display name of the broker type."""
        return broker_type_label(self.connection.type)

    @property
    def settings(self) -> list[tuple[str, str]]:
        """Its connection settings: label and value."""
        return display_settings(self.connection.type, self.connection.settings)

    @property
    def slippage_rule(self) -> str:
        """How its broker applies the slippage limit of a market entry."""
        return slippage_rule(self.connection.type, self.connection.exchange_name)

    @property
    def takes_credentials(self) -> bool:
        """Whether its broker type needs credentials."""
        return takes_credentials(self.connection.type)

    @property
    def is_paper(self) -> bool:
        return bool(self.connection.type == "paper")

    @property
    def is_demo(self) -> bool:
        """Whether its money is virtual, as its broker states it: sample orders may be placed."""
        return is_demo(self.connection, self.snapshot, self.state)

    @property
    def is_twin(self) -> bool:
        """Whether it is the paper twin of a subscription: in no sum, and with no choices."""
        return is_twin_account(self.connection.type, self.connection.account)

    @property
    def order_updates(self) -> OrderUpdates | None:
        """How soon changes of its orders are known; None: its broker reports them."""
        return order_updates_of(self.connection)

    @property
    def worker_hint(self) -> str:
        """The worker that must be started to reach its broker; empty: it runs or none is needed."""
        return missing_worker_message(self.connection)

    @property
    def worker_message(self) -> str:
        """What the missing worker means for the owner; empty: it runs."""
        if not self.worker_hint or not count_open_items(self.connection):
            return self.worker_hint
        unwatched = "Until then its open positions are not monitored"
        return f"{self.worker_hint} {unwatched}: exits, and stops that Fillcast guards, wait."

    @property
    def has_no_prices(self) -> bool:
        """Whether it has no price source, or one that delivers no prices."""
        source = self.connection.data_connection
        return source is None or not is_delivering(source, datetime.now(UTC))

    @property
    def is_about_prices(self) -> bool:
        """Whether missing prices are the first thing that keeps it from trading."""
        return self.has_no_prices and self.reason in ("", Code.NO_DATA_CONNECTION)

    @property
    def message(self) -> str:
        if not self.reason and not self.worker_hint and self.has_no_prices:
            return "Its price source delivers no prices; entries are refused until it does."
        if not self.connection.is_active and count_open_items(self.connection):
            return self._switched_off_message()
        if self.worker_hint and not self.reason:
            return self.worker_message
        if self.paused_by_owner:
            return "You paused everything. Resume trading to take the next signal."
        return f"{sentence(self.reason)} {hint(self.reason)}" if self.reason else (
            "Ready to trade the next signal.")  # fmt: skip

    @property
    def list_message(self) -> str:
        """The message for a list: the error itself where there is one, shortened."""
        error = self.state.last_error if self.state and self.reason in FAILING else ""
        return shorten(error, MAX_LIST_CHARS, placeholder=" …") or self.message

    def _switched_off_message(self) -> str:
        found = describe_open_items(open_items(self.connection.pk))
        state = f"Switched off; it takes no signals. Still open there: {found}."
        if self.worker_hint:
            return f"{state} These are not monitored until its worker runs."
        if self.health[0] != "paused":
            return f"{state} These are monitored, but the account has a problem."
        return f"{state} These are still monitored: stops, targets and exits work."

    @property
    def next_step(self) -> tuple[str, str] | None:
        """(address, text of the link) of what the tenant can do; None: nothing but wait."""
        if self.paused_by_owner:
            return reverse("portal:resume"), "Resume everything…"
        named = NEXT_STEPS.get(Code(self.reason)) if self.reason in Code.__members__ else None
        if not self.reason and not self.worker_hint and self.has_no_prices:
            named = "account", "See its prices"
        if named is None:
            return None
        return reverse(f"portal:{named[0]}", args=[self.connection.pk]), named[1]

    @property
    def is_next_step_elsewhere(self) -> bool:
        """Whether the next step is on another page than the account's own."""
        own = reverse("portal:account", args=[self.connection.pk])
        return self.next_step is not None and self.next_step[0] != own

    @property
    def maintenance(self) -> MaintenanceNotice:
        """When its broker has maintenance, now or next."""
        return describe_maintenance(self.connection)

    @property
    def is_test_pending(self) -> bool:
        """Whether a requested test has not run yet."""
        return is_test_pending(self.state)

    @property
    def failed_checks(self) -> list[dict[str, Any]]:
        """The checks of the last test that failed."""
        return [check for check in self.checks if check.get("result") == "fail"]

    @property
    def has_passed_test(self) -> bool:
        """Whether its last test has passed, and no other is waiting."""
        state = self.state
        is_tested = state is not None and state.last_tested_at is not None
        return is_tested and not self.failed_checks and not self.is_test_pending

    @property
    def checks(self) -> list[dict[str, Any]]:
        """The checks of the last test, each with its result and badge."""
        return test_checks(self.state)


def connections_of(user: User) -> QuerySet[ExecutionConnection]:
    """Return a tenant's connections that are not archived, without loading their credentials."""
    return with_display_columns(
        ExecutionConnection.objects.live()
        .of(user.pk)
        .select_related(
            "health",
            "snapshot",
            "preset__decision_provider",
            "data_connection__health",
            "cash_flow_read",
            "sync_state",
        )
        .annotate(
            has_credentials=ExpressionWrapper(
                Q(sealed_credentials__isnull=False), output_field=BooleanField()
            )
        )
        .defer("sealed_credentials")
    )


# A list of accounts names the preset and knows its trading day, and shows no more of it.
_NOT_LISTED = other_columns(
    "preset", TradingPreset, "id", "user", "name", "trading_day_zone", "trading_day_start"
)


def accounts_of(user: User, *, halts: Sequence[Halt] | None = None) -> list[Account]:
    """Return a tenant's accounts by name, in one statement, with what a list shows of each.

    halts: from `halts_affecting`, if they were read already; else they are read while one stops an
    account.
    """
    listed = ("health", "snapshot", "preset", "data_connection__health")
    found = connections_of(user).select_related(None).select_related(*listed).defer(*_NOT_LISTED)
    return as_accounts(user, list(with_skip_reason(found)), halts)


def as_accounts(user: User, found: Sequence[Any], halts: Sequence[Halt] | None) -> list[Account]:
    """Return connections from `with_skip_reason` as accounts. halts: as for `accounts_of`."""
    paused = False
    if any(row.skip_reason in HALTED for row in found):
        halts = halts_affecting(user) if halts is None else halts
        # the tenant's own pause is the only halt that stops these accounts
        paused = bool(halts) and all(halt.is_everything_of_mine for halt in halts)
    return [
        Account(row, row.skip_reason, paused_by_owner=paused and row.skip_reason in HALTED)
        for row in found
    ]


def account_of(user: User, pk: UUID) -> Account | None:
    """Return one of the tenant's accounts, or None."""
    found = with_skip_reason(connections_of(user)).filter(pk=pk)
    return next(iter(as_accounts(user, list(found), None)), None)


def presets_for(user: User) -> QuerySet[TradingPreset]:
    """Return the presets that a tenant may use: their own and the operators'."""
    return TradingPreset.objects.filter(Q(user=user) | Q(user=None))


def price_sources_for(user: User, *, kept: int | None = None) -> QuerySet[DataConnection]:
    """Return the active price sources that a tenant may use: their own and the operators'.

    kept: the source in use, which stays a choice although it is off.
    """
    return DataConnection.objects.filter(
        Q(user=user) | Q(user=None), Q(is_active=True) | Q(pk=kept)
    )
