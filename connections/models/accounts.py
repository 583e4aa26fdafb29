import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import Func, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from common.clocks import market_now
from common.names import NameField
from connections import eligibility, sealing
from connections.account_settings.validation import LONGEST_CLAIM, LONGEST_SCOPE, scope_for
from connections.health import status_updates
from connections.health.status_updates import RetryPolicy
from connections.models.health import ConnectionHealth
from connections.models.presets import TradingPreset
from connections.models.sources import DataConnection
from connections.session_lanes import assign_lane

LONGEST_IDENTITY = 120
MAX_AGGREGATION_MS = 5000


class ConnectionQuerySet(models.QuerySet["ExecutionConnection"]):
    """Queries for connections."""

    def of(self, user_id: int) -> Self:
        """Connections of a tenant."""
        return self.filter(user_id=user_id)

    def owned_by(self, user_id: int) -> Self:
        """Connections of a tenant, or of an administrator."""
        return self.filter(Q(user_id=user_id) | Q(admin_id=user_id))

    def live(self) -> Self:
        """Connections that are not archived."""
        return self.filter(archived_at__isnull=True)


class BrokerHost(Func):
    """The host that an account depends on, as SQL.

    It is the broker type with the `host` or `server` of the settings, else with the exchange.
    """

    template = (
        "lower(left(type || coalesce(':' || coalesce(nullif(settings ->> 'host', ''),"
        " nullif(settings ->> 'server', ''), nullif(exchange_name, '')), ''), 120))"
    )
    output_field = models.CharField(max_length=120)


class ExecutionConnection(models.Model):
    """One broker account of a tenant, or of an administrator (then it takes every signal)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="execution_connections",
    )
    admin = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="admin_connections",
        help_text="An administrator's own account takes all published signals.",
    )
    name = NameField(max_length=100)
    type = models.CharField(max_length=20, help_text="A broker type of the registry.")
    exchange_name = models.CharField(max_length=40, blank=True)
    account = models.CharField(max_length=60, help_text="Account number or login at the broker.")
    account_scope = models.CharField(
        max_length=LONGEST_SCOPE,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The scope within which `account` is unique; empty: the broker type.",
    )
    claim = models.CharField(
        max_length=LONGEST_CLAIM,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The account that its last passed test proved (connections/accounts/ownership).",
    )
    credentials_claim = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="A digest of the credentials of that test, if the account's number is only its "
        "owner's name for it.",
    )
    identity = models.CharField(
        max_length=LONGEST_IDENTITY,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The broker's own identity of the account, if it reports one.",
    )
    identity_credentials_digest = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="A digest of the sealed credentials that `identity` belongs to; empty: unknown.",
    )
    sealed_credentials = models.BinaryField(null=True, blank=True, editable=False)
    credentials_changed_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Leaves a line in the audit trail."
    )
    is_active = models.BooleanField(default=True)
    is_paused = models.BooleanField(default=False)
    auto_correct = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Accept the broker's quantities and levels without a decision.",
    )
    aggregation_ms = models.PositiveSmallIntegerField(
        "aggregation window",
        default=0,
        db_default=0,
        help_text="Milliseconds for which a market entry waits for others of its symbol and side,"
        " to be sent with them as one order; 0: each is sent alone.",
    )
    settings = models.JSONField(default=dict, blank=True)
    broker_host = models.GeneratedField(
        expression=BrokerHost(), output_field=models.CharField(max_length=120), db_persist=True
    )
    preset = models.ForeignKey(TradingPreset, models.PROTECT, null=True, blank=True)
    data_connection = models.ForeignKey(
        DataConnection, models.PROTECT, null=True, blank=True, verbose_name="price source"
    )
    lane = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The queue of the worker that calls its broker; empty: any worker.",
    )
    instrument_book = models.CharField(
        max_length=80, blank=True, help_text="The list of instruments that the account uses."
    )
    created_at = models.DateTimeField(default=market_now, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = ConnectionQuerySet.as_manager()

    class Meta:
        ordering = ("name", "id")
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=False, admin__isnull=True)
                | Q(user__isnull=True, admin__isnull=False),
                name="exactly_one_owner",
            ),
            models.CheckConstraint(
                condition=Q(aggregation_ms__lte=MAX_AGGREGATION_MS), name="aggregation_is_short"
            ),
            models.UniqueConstraint(  # per owner: an entered number excludes no other user
                "type",
                "exchange_name",
                "account",
                "account_scope",
                Coalesce("user_id", "admin_id"),
                condition=Q(archived_at__isnull=True),
                name="one_connection_an_account",
            ),
            models.UniqueConstraint(
                fields=["claim"],
                condition=Q(archived_at__isnull=True) & ~Q(claim=""),
                name="one_claim_an_account",
            ),
            models.UniqueConstraint(
                fields=["credentials_claim"],
                condition=Q(archived_at__isnull=True) & ~Q(credentials_claim=""),
                name="one_connection_a_key",
            ),
        ]
        indexes = [
            models.Index(fields=["broker_host"], name="connection_of_host"),
            models.Index(fields=["lane"], name="connection_of_lane", condition=~Q(lane="")),
            models.Index(
                fields=["type", "lane"],
                name="connection_of_type",
                condition=Q(archived_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.type} · {self.account})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the connection, and set its lane and scope by its broker type and settings.

        Raises InvalidInputError if they name an invalid lane.
        """
        changed = kwargs.get("update_fields")
        if changed is None or {"type", "settings"} & set(changed):
            self.lane = assign_lane(self.type, self.pk, self.account, self.settings)
            self.account_scope = scope_for(self.type, self.owner_id, self.settings)
            if changed is not None:
                kwargs["update_fields"] = [*changed, "lane", "account_scope"]
        super().save(*args, **kwargs)

    @property
    def owner_id(self) -> int:
        """The id of the tenant or administrator who owns the account."""
        owner: int = self.user_id or self.admin_id  # type: ignore[assignment]  # one of them is set
        return owner

    @property
    def owner_name(self) -> str:
        """The owner's login name."""
        owner = self.user or self.admin
        assert owner is not None  # the constraint exactly_one_owner
        return owner.username

    @property
    def account_currency(self) -> str:
        """The currency of the account's money; empty if it was never read."""
        snapshot = getattr(self, "snapshot", None)
        return snapshot.currency if snapshot else ""

    def is_admin_owned(self) -> bool:
        """Return whether it is an administrator's own account, which takes every signal."""
        return self.admin_id is not None

    def has_preset(self) -> bool:
        """Return whether a preset is set, which limits the size of trades."""
        return self.preset_id is not None

    def has_data_connection(self) -> bool:
        """Return whether a price source is set."""
        return self.data_connection_id is not None

    def can_execute_trades(self) -> bool:
        """Return whether the next signal would be traded, by the same SQL as fan-out.

        Reasons of a single subscription or feed are left out. `eligibility.reason_for` returns the
        reason.
        """
        return eligibility.reason_for(connection_id=self.pk) is None

    def mark_as_active(self, *, cleared: bool = False) -> bool:
        """Record that the broker answered. Return whether that ended an error.

        cleared: a test passed or an order went through, which clears the message of a refusal.
        """
        return bool(status_updates.mark_active([self.pk], cleared=[self.pk] if cleared else ()))

    def mark_as_error(self, message: str, *, retry: RetryPolicy | None = None) -> bool:
        """Record an error, as a sentence without secrets. Return whether there was none before.

        retry: when the account is read again; default: BACKOFF.
        """
        policy = retry or status_updates.RetryPolicy.BACKOFF
        return bool(status_updates.mark_errors([(self.pk, message)], retry=policy))

    def update_last_connected(self) -> None:
        """Record contact with the broker now."""
        status_updates.mark_connected([self.pk], at_most_every_seconds=0)

    def update_last_used(self) -> None:
        """Record that an order was sent now."""
        status_updates.mark_used([self.pk], at_most_every_seconds=0)

    def is_stale(self, hours: float) -> bool:
        """Return whether there was no contact with the broker for so long (machine time)."""
        return self._health().is_stale(timezone.now(), timedelta(hours=hours))

    def has_error(self) -> bool:
        return self._health().has_error()

    def get_health_status(self, known: ConnectionHealth | None = None) -> str:
        """Return one word: archived, inactive, paused, untested, error, resting, stale or healthy.

        resting: its circuit is open after repeated failures. stale: no contact for a day. known:
        its health, if it is loaded already.
        """
        if self.archived_at is not None:
            return "archived"
        if not self.is_active:
            return "inactive"
        if self.is_paused:
            return "paused"
        return (known or self._health()).word(timezone.now())

    def get_credential(self, key: str, default: str | None = None) -> str | None:
        """Return one of the credentials; `default` if it was never entered.

        Works in trading processes only: raises MisconfiguredError elsewhere, and CredentialsError
        if the stored credentials do not open.
        """
        return self.open_credentials().get(key, default)

    def set_credential(self, key: str, value: str) -> None:
        """Store one credential and keep the others; works in processes that cannot read them."""
        with transaction.atomic():
            mine = type(self).objects.filter(pk=self.pk)
            present = mine.select_for_update(no_key=True).values_list("sealed_credentials").get()
            self._store(sealing.seal_credentials(
                {key: value}, connection_id=self.pk, owner_id=self.owner_id, after=present[0]
            ))  # fmt: skip

    def set_credentials(self, values: Mapping[str, str]) -> None:
        """Replace all stored credentials by these; {} removes them."""
        self._store(
            sealing.seal_credentials(values, connection_id=self.pk, owner_id=self.owner_id)
            if values
            else None
        )

    def open_credentials(self) -> dict[str, str]:
        """Return all credentials by name. Raises as `get_credential`."""
        return sealing.open_credentials(
            self.sealed_credentials, connection_id=self.pk, owner_id=self.owner_id
        )

    def _store(self, sealed: bytes | None) -> None:
        self.sealed_credentials, self.credentials_changed_at = sealed, timezone.now()
        type(self).objects.filter(pk=self.pk).update(
            sealed_credentials=sealed, credentials_changed_at=self.credentials_changed_at
        )

    def _health(self) -> ConnectionHealth:
        return ConnectionHealth.objects.get(pk=self.pk)
