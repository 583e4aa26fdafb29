"""A tenant's accounts: how they fare, what they hold, and what is to be done."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from textwrap import shorten
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.urls import reverse

from common.formatting import hint, sentence
from common.reason_codes import Code
from connections.account_settings.forms import (
    broker_type_label,
    display_settings,
    takes_credentials,
)
from connections.health.maintenance import MaintenanceNotice, describe
from connections.models import (
    AccountSnapshot,
    ConnectionHealth,
    DataConnection,
    ExecutionConnection,
    TradingPreset,
)
from connections.selectors import (
    count_open_items,
    describe_open_items,
    is_delivering,
    is_test_pending,
    missing_worker_hint,
    open_items,
    skip_reasons,
    slippage_rule,
    test_checks,
    with_display_columns,
)
from connections.selectors import health_badge as health_of
from portal.selectors.halts import halts_affecting
from users.models import User

FAILING = (
    Code.CONNECTION_ERROR, Code.ACCOUNT_TRADING_DISABLED, Code.ACCOUNT_ANSWER_UNUSABLE,
    Code.CONNECTION_UNREACHABLE,
)  # fmt: skip
MAX_LIST_CHARS = 250  # characters of what is wrong, in a list
HALTED = (Code.TRADING_HALTED, Code.ENTRIES_HALTED)
NEXT_STEPS = {  # where the tenant does it, by what stands in the way
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
}


@dataclass(frozen=True, slots=True)
class Account:
    """One account. reason: the code that would skip it now; empty: it takes the next signal.

    paused_by_owner: the owner paused everything, and nobody else stops this account.
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
        """Shape and word."""
        return health_of(self.connection)

    @property
    def broker(self) -> str:
        """The broker's kind, as people call it."""
        return broker_type_label(self.connection.type)

    @property
    def settings(self) -> list[tuple[str, str]]:
        """What the broker is told of it: label and value."""
        return display_settings(self.connection.type, self.connection.settings)

    @property
    def slippage_rule(self) -> str:
        """What its broker does with the slippage limit of a market entry."""
        return slippage_rule(self.connection.type, self.connection.exchange_name)

    @property
    def takes_credentials(self) -> bool:
        """Whether there is anything to enter."""
        return takes_credentials(self.connection.type)

    @property
    def is_paper(self) -> bool:
        return bool(self.connection.type == "paper")

    @property
    def worker_hint(self) -> str:
        """What must be started before anybody can speak to its broker; empty: nothing."""
        return missing_worker_hint(self.connection)

    @property
    def worker_message(self) -> str:
        """What its owner should know where its worker does not run; empty: it does."""
        if not self.worker_hint or not count_open_items(self.connection):
            return self.worker_hint
        unwatched = "What is open there is not looked after meanwhile"
        return f"{self.worker_hint} {unwatched}: exits, and stops that we keep, wait."

    @property
    def has_no_prices(self) -> bool:
        """Whether it has no price source, or one that tells nothing."""
        source = self.connection.data_connection
        return source is None or not is_delivering(source, datetime.now(UTC))

    @property
    def is_about_prices(self) -> bool:
        """Whether prices are what stands in the way, and nothing that comes before them."""
        return self.has_no_prices and self.reason in ("", Code.NO_DATA_CONNECTION)

    @property
    def message(self) -> str:
        if not self.reason and not self.worker_hint and self.has_no_prices:
            return "Its price source tells nothing: an entry is refused until it does."
        if not self.connection.is_active and count_open_items(self.connection):
            return self._switched_off_message()
        if self.worker_hint and not self.reason:
            return self.worker_message
        if self.paused_by_owner:
            return "You paused everything. Resume, and it takes the next signal."
        return f"{sentence(self.reason)} {hint(self.reason)}" if self.reason else (
            "Takes the next signal.")  # fmt: skip

    @property
    def list_message(self) -> str:
        """The same where there is one line for it: what is wrong, not where that can be read."""
        said = self.state.last_error if self.state and self.reason in FAILING else ""
        return shorten(said, MAX_LIST_CHARS, placeholder=" …") or self.message

    def _switched_off_message(self) -> str:
        found = describe_open_items(open_items(self.connection.pk))
        said = f"It is switched off and takes no signal. Still open there: {found}."
        if self.worker_hint:
            return f"{said} Nobody looks after that until its worker runs."
        if self.health[0] != "paused":
            return f"{said} That is watched, but something is wrong there."
        return f"{said} That is watched as ever: stops, targets and exits go on."

    @property
    def next_step(self) -> tuple[str, str] | None:
        """(address, what the link says), None where waiting is all there is to do."""
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
        """Whether what is to be done is done on another page than the account's own."""
        own = reverse("portal:account", args=[self.connection.pk])
        return self.next_step is not None and self.next_step[0] != own

    @property
    def maintenance(self) -> MaintenanceNotice:
        """When its broker is maintained."""
        return describe(self.connection)

    @property
    def is_test_pending(self) -> bool:
        """Whether a test was asked for and has not been done since."""
        return is_test_pending(self.state)

    @property
    def checks(self) -> list[dict[str, Any]]:
        """The named checks of the last test, with their shapes."""
        return test_checks(self.state)


def connections_of(user: User) -> QuerySet[ExecutionConnection]:
    """Return a tenant's connections that are not archived. Credentials are never even loaded."""
    return with_display_columns(
        ExecutionConnection.objects.live()
        .of(user.pk)
        .select_related("health", "snapshot", "preset", "data_connection__health")
        .annotate(
            has_credentials=ExpressionWrapper(
                Q(sealed_credentials__isnull=False), output_field=BooleanField()
            )
        )
        .defer("sealed_credentials")
    )


def accounts_of(user: User) -> list[Account]:
    """Return all of them by name, in two statements."""
    found = list(connections_of(user))
    why = skip_reasons([row.pk for row in found]) if found else {}
    paused = _paused_everything(user, why.values())
    return [_account(row, why.get(row.pk, ""), paused=paused) for row in found]


def _account(connection: Any, reason: str, *, paused: bool) -> Account:
    return Account(connection, reason, paused_by_owner=paused and reason in HALTED)


def _paused_everything(user: User, why: Iterable[str]) -> bool:
    """Whether the tenant's own pause is the only halt that stops these accounts."""
    if not any(reason in HALTED for reason in why):
        return False
    halts = halts_affecting(user)
    return bool(halts) and all(halt.is_everything_of_mine for halt in halts)


def account_of(user: User, pk: UUID) -> Account | None:
    """Return one of them; None: there is none, or it is somebody else's."""
    found = connections_of(user).filter(pk=pk).first()
    if found is None:
        return None
    reason = skip_reasons([pk]).get(pk, "")
    return _account(found, reason, paused=_paused_everything(user, [reason]))


def presets_for(user: User) -> QuerySet[TradingPreset]:
    """Return the tenant's own presets and the operators'."""
    return TradingPreset.objects.filter(Q(user=user) | Q(user=None))


def price_sources_for(user: User, *, kept: int | None = None) -> QuerySet[DataConnection]:
    """Return the tenant's own sources and the operators' that are on. kept: one that is chosen
    already stays a choice."""
    return DataConnection.objects.filter(
        Q(user=user) | Q(user=None), Q(is_active=True) | Q(pk=kept)
    )
