"""A tenant's accounts: how they fare, what they hold, and what is to be done."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet

from common.codes import Code
from common.shown import hint, sentence
from connections.maintenance import Shown, shown_of
from connections.models import (
    AccountSnapshot,
    ConnectionHealth,
    DataConnection,
    ExecutionConnection,
    TradingPreset,
)
from connections.selectors import checks_of, reasons, test_waits, waits_for, with_workers
from connections.selectors import health as health_of
from connections.setting_fields import label_of, shown, takes_credentials
from users.models import User

TO_DO = {  # where the tenant does it, by what stands in the way
    Code.NO_CREDENTIALS: ("credentials", "Enter credentials"),
    Code.NO_PRESET: ("account_edit", "Choose a preset"),
    Code.NO_DATA_CONNECTION: ("account_edit", "Choose a price source"),
    Code.CONNECTION_PAUSED: ("account", "Resume"),
    Code.CONNECTION_UNTESTED: ("account", "Test the connection"),
    Code.CONNECTION_ERROR: ("account", "See what is wrong"),
    Code.CIRCUIT_OPEN: ("account", "See what is wrong"),
}


@dataclass(frozen=True, slots=True)
class Account:
    """One account. reason: the code that would skip it now; empty: it takes the next signal."""

    connection: Any
    reason: str

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
    def words(self) -> str:
        if self.waits_for and not self.reason:
            return self.waits_for
        return f"{sentence(self.reason)} {hint(self.reason)}" if self.reason else (
            "Takes the next signal.")  # fmt: skip

    @property
    def to_do(self) -> tuple[str, str] | None:
        """(address name, what the link says), None where waiting is all there is to do."""
        return TO_DO.get(Code(self.reason)) if self.reason in Code.__members__ else None

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
    return with_workers(
        ExecutionConnection.objects.live()
        .of(user.pk)
        .select_related("health", "snapshot", "preset", "data_connection")
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
    return [Account(row, why.get(row.pk, "")) for row in found]


def account_of(user: User, pk: UUID) -> Account | None:
    """Return one of them; None: there is none, or it is somebody else's."""
    found = connections_of(user).filter(pk=pk).first()
    return Account(found, reasons([pk]).get(pk, "")) if found else None


def presets_for(user: User) -> QuerySet[TradingPreset]:
    """Return the tenant's own presets and the operators'."""
    return TradingPreset.objects.filter(Q(user=user) | Q(user=None))


def price_sources_for(user: User) -> QuerySet[DataConnection]:
    return DataConnection.objects.filter(Q(user=user) | Q(user=None), is_active=True)
