"""One broker account."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import Func, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from common.clocks import market_now
from connections.models.health import ConnectionHealth
from connections.models.presets import DataConnection, TradingPreset

if TYPE_CHECKING:
    from connections.health.status_updates import RetryPolicy

LONGEST_SCOPE = 120
LONGEST_CLAIM = 500
LONGEST_IDENTITY = 120


class ConnectionQuerySet(models.QuerySet["ExecutionConnection"]):
    def of(self, user_id: int) -> Self:
        return self.filter(user_id=user_id)

    def live(self) -> Self:
        """Not archived."""
        return self.filter(archived_at__isnull=True)


class BrokerHost(Func):
    """The host whose trouble is all of its accounts' trouble: the kind of broker and what the
    settings name (`host`, `server`), else the exchange."""

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
    name = models.CharField(max_length=100)
    type = models.CharField(max_length=20, help_text="A broker kind of the registry.")
    exchange_name = models.CharField(max_length=40, blank=True)
    account = models.CharField(max_length=60, help_text="Account number or login at the broker.")
    account_scope = models.CharField(
        max_length=LONGEST_SCOPE,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="Among which accounts of the kind that names one; empty: among all.",
    )
    claim = models.CharField(
        max_length=LONGEST_CLAIM,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="What its last passed test proved it to be (connections/accounts/ownership.py).",
    )
    credentials_claim = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="A digest of the credentials with which that test passed, where the account's "
        "number is only its owner's name for it.",
    )
    identity = models.CharField(
        max_length=LONGEST_IDENTITY,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="What its broker called the account in its last passed test, where it says so.",
    )
    identity_credentials_digest = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="A digest of the sealed credentials that `identity` was told of; empty: of none.",
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
        help_text="Take over what the broker says of quantities and levels, without a decision.",
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
        help_text="Which worker speaks to it: empty for any, else a queue's name.",
    )
    instrument_book = models.CharField(
        max_length=80, blank=True, help_text="Which list of instruments the account shares."
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
            models.UniqueConstraint(  # what others say of theirs keeps nobody out: see `claim`
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
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.type} · {self.account})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save it, in the lane and the scope that its kind and settings give it.

        Raises InvalidInputError where they name a lane that is none.
        """
        from connections.account_settings.validation import scope_for
        from connections.session_lanes import assign_lane

        changed = kwargs.get("update_fields")
        if changed is None or {"type", "settings"} & set(changed):
            self.lane = assign_lane(self.type, self.pk, self.account, self.settings)
            self.account_scope = scope_for(self.type, self.owner_id, self.settings)
            if changed is not None:
                kwargs["update_fields"] = [*changed, "lane", "account_scope"]
        super().save(*args, **kwargs)

    @property
    def owner_id(self) -> int:
        """The tenant or administrator whose account it is."""
        owner: int = self.user_id or self.admin_id  # type: ignore[assignment]  # one of them is set
        return owner

    @property
    def owner_name(self) -> str:
        """The name that the owner logs in with."""
        owner = self.user or self.admin
        assert owner is not None  # the database sees to it
        return owner.username

    def is_admin_owned(self) -> bool:
        """Whether it is an administrator's own account, which takes every published signal."""
        return self.admin_id is not None

    def has_preset(self) -> bool:
        """Whether it is said how large a trade may be."""
        return self.preset_id is not None

    def has_data_connection(self) -> bool:
        """Whether a source of prices is chosen."""
        return self.data_connection_id is not None

    def can_execute_trades(self) -> bool:
        """Whether the next signal would be traded, asked in the very way in which fan-out asks.

        What concerns one subscription or one feed only is left out. `eligibility.reason_for` says
        why not.
        """
        from connections import eligibility

        return eligibility.reason_for(connection_id=self.pk) is None

    def mark_as_active(self, *, cleared: bool = False) -> bool:
        """Note that the broker answered. Returns whether that ended an error.

        cleared: a test passed or an order went through; what a refusal has noted is over.
        """
        from connections.health import status_updates

        return bool(status_updates.mark_active([self.pk], cleared=[self.pk] if cleared else ()))

    def mark_as_error(self, message: str, *, retry: RetryPolicy | None = None) -> bool:
        """Note a failure, as a sentence without secrets. Returns whether all was well before.

        retry: when the broker is asked again; rarely, unless said.
        """
        from connections.health import status_updates

        when = retry or status_updates.RetryPolicy.BACKOFF
        return bool(status_updates.mark_errors([(self.pk, message)], retry=when))

    def update_last_connected(self) -> None:
        """Note that the broker was spoken to now."""
        from connections.health import status_updates

        status_updates.mark_connected([self.pk], at_most_every_seconds=0)

    def update_last_used(self) -> None:
        """Note that an order went out now."""
        from connections.health import status_updates

        status_updates.mark_used([self.pk], at_most_every_seconds=0)

    def is_stale(self, hours: float) -> bool:
        """Whether the broker was not spoken to for longer than this (machine time), or never."""
        return self._health().is_stale(timezone.now(), timedelta(hours=hours))

    def has_error(self) -> bool:
        """Whether the last contact with the broker failed."""
        return self._health().has_error()

    def get_health_status(self, known: ConnectionHealth | None = None) -> str:
        """Return one word: archived, inactive, paused, untested, error, resting, stale or healthy.

        resting: its circuit is open after failures in a row. stale: no contact for a day. known:
        its row of health, if it is loaded already.
        """
        if self.archived_at is not None:
            return "archived"
        if not self.is_active:
            return "inactive"
        if self.is_paused:
            return "paused"
        return (known or self._health()).word(timezone.now())

    def get_credential(self, key: str, default: str | None = None) -> str | None:
        """Return one of the broker's credentials, `default` if it was never entered.

        Opens in trading processes only: raises MisconfiguredError elsewhere, CredentialsError if
        what is stored was moved here from another row.
        """
        return self.open_credentials().get(key, default)

    def set_credential(self, key: str, value: str) -> None:
        """Store one credential beside the others; works where none of them can be read."""
        from connections.credentials import sealing

        with transaction.atomic():
            mine = type(self).objects.filter(pk=self.pk)
            present = mine.select_for_update(no_key=True).values_list("sealed_credentials").get()
            self._store(sealing.seal_credentials(
                {key: value}, connection_id=self.pk, owner_id=self.owner_id, after=present[0]
            ))  # fmt: skip

    def set_credentials(self, values: Mapping[str, str]) -> None:
        """Store these credentials in place of all that were there; {} removes them."""
        from connections.credentials import sealing

        self._store(
            sealing.seal_credentials(values, connection_id=self.pk, owner_id=self.owner_id)
            if values
            else None
        )

    def open_credentials(self) -> dict[str, str]:
        """Return all credentials; see get_credential."""
        from connections.credentials import sealing

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
