"""A tenant's accounts: how they fare, what they hold, and what is to be done."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from textwrap import shorten
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.urls import reverse

from common.codes import Code
from common.shown import hint, sentence
from connections.faring import tells
from connections.fitting import slippage_rule
from connections.maintenance import Shown, shown_of
from connections.models import (
    AccountSnapshot,
    ConnectionHealth,
    DataConnection,
    ExecutionConnection,
    TradingPreset,
)
from connections.open import in_words, what_is_open
from connections.selectors import as_shown, checks_of, open_in, reasons, test_waits, waits_for
from connections.selectors import health as health_of
from connections.setting_fields import label_of, shown, takes_credentials
from portal.selectors.halts import halts_on
from users.models import User

FAILING = (
    Code.CONNECTION_ERROR, Code.ACCOUNT_TRADING_DISABLED, Code.ACCOUNT_ANSWER_UNUSABLE,
    Code.CONNECTION_UNREACHABLE,
)  # fmt: skip
MOST = 250  # characters of what is wrong, in a list
HALTED = (Code.TRADING_HALTED, Code.ENTRIES_HALTED)
TO_DO = {  # where the tenant does it, by what stands in the way
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
        return label_of(self.connection.type)

    @property
    def settings(self) -> list[tuple[str, str]]:
        """What the broker is told of it: label and value."""
        return shown(self.connection.type, self.connection.settings)

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
    def waits_for(self) -> str:
        """What must be started before anybody can speak to its broker; empty: nothing."""
        return waits_for(self.connection)

    @property
    def without_a_worker(self) -> str:
        """What its owner should know where its worker does not run; empty: it does."""
        if not self.waits_for or not open_in(self.connection):
            return self.waits_for
        unwatched = "What is open there is not looked after meanwhile"
        return f"{self.waits_for} {unwatched}: exits, and stops that we keep, wait."

    @property
    def lacks_prices(self) -> bool:
        """Whether it has no price source, or one that tells nothing."""
        source = self.connection.data_connection
        return source is None or not tells(source, datetime.now(UTC))

    @property
    def is_about_prices(self) -> bool:
        """Whether prices are what stands in the way, and nothing that comes before them."""
        return self.lacks_prices and self.reason in ("", Code.NO_DATA_CONNECTION)

    @property
    def words(self) -> str:
        if not self.reason and not self.waits_for and self.lacks_prices:
            return "Its price source tells nothing: an entry is refused until it does."
        if not self.connection.is_active and open_in(self.connection):
            return self._words_of_one_that_is_off()
        if self.waits_for and not self.reason:
            return self.without_a_worker
        if self.paused_by_owner:
            return "You paused everything. Resume, and it takes the next signal."
        return f"{sentence(self.reason)} {hint(self.reason)}" if self.reason else (
            "Takes the next signal.")  # fmt: skip

    @property
    def in_the_list(self) -> str:
        """The same where there is one line for it: what is wrong, not where that can be read."""
        said = self.state.last_error if self.state and self.reason in FAILING else ""
        return shorten(said, MOST, placeholder=" …") or self.words

    def _words_of_one_that_is_off(self) -> str:
        found = in_words(what_is_open(self.connection.pk))
        said = f"It is switched off and takes no signal. Still open there: {found}."
        if self.waits_for:
            return f"{said} Nobody looks after that until its worker runs."
        if self.health[0] != "paused":
            return f"{said} That is watched, but something is wrong there."
        return f"{said} That is watched as ever: stops, targets and exits go on."

    @property
    def to_do(self) -> tuple[str, str] | None:
        """(address, what the link says), None where waiting is all there is to do."""
        if self.paused_by_owner:
            return reverse("portal:resume"), "Resume everything…"
        named = TO_DO.get(Code(self.reason)) if self.reason in Code.__members__ else None
        if not self.reason and not self.waits_for and self.lacks_prices:
            named = "account", "See its prices"
        if named is None:
            return None
        return reverse(f"portal:{named[0]}", args=[self.connection.pk]), named[1]

    @property
    def is_done_elsewhere(self) -> bool:
        """Whether what is to be done is done on another page than the account's own."""
        own = reverse("portal:account", args=[self.connection.pk])
        return self.to_do is not None and self.to_do[0] != own

    @property
    def maintenance(self) -> Shown:
        """When its broker is maintained."""
        return shown_of(self.connection)

    @property
    def test_waits(self) -> bool:
        """Whether a test was asked for and has not been done since."""
        return test_waits(self.state)

    @property
    def checks(self) -> list[dict[str, Any]]:
        """The named checks of the last test, with their shapes."""
        return checks_of(self.state)


def connections_of(user: User) -> QuerySet[ExecutionConnection]:
    """Return a tenant's connections that are not archived. Credentials are never even loaded."""
    return as_shown(
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
    why = reasons([row.pk for row in found]) if found else {}
    paused = _paused_everything(user, why.values())
    return [_account(row, why.get(row.pk, ""), paused=paused) for row in found]


def _account(connection: Any, reason: str, *, paused: bool) -> Account:
    return Account(connection, reason, paused_by_owner=paused and reason in HALTED)


def _paused_everything(user: User, why: Iterable[str]) -> bool:
    """Whether the tenant's own pause is the only halt that stops these accounts."""
    if not any(reason in HALTED for reason in why):
        return False
    halts = halts_on(user)
    return bool(halts) and all(halt.is_everything_of_mine for halt in halts)


def account_of(user: User, pk: UUID) -> Account | None:
    """Return one of them; None: there is none, or it is somebody else's."""
    found = connections_of(user).filter(pk=pk).first()
    if found is None:
        return None
    reason = reasons([pk]).get(pk, "")
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
