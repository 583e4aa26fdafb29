"""How an account is doing, what the broker told of it, and the row that orders its work."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q

from common.fields import AmountField

STALE_AFTER = timedelta(days=1)


class HealthStatus(models.TextChoices):
    UNTESTED = "UNTESTED", "Never tested"
    ACTIVE = "ACTIVE", "Healthy"
    ERROR = "ERROR", "Error"


class ConnectionHealth(models.Model):
    """How the connection is doing, apart from what its owner decided about it."""

    connection = models.OneToOneField(
        "connections.ExecutionConnection", models.CASCADE, primary_key=True, related_name="health"
    )
    status = models.CharField(
        max_length=8,
        choices=HealthStatus,
        default=HealthStatus.UNTESTED,
        db_default=HealthStatus.UNTESTED,
    )
    last_error = models.TextField(blank=True, default="", db_default="")
    last_error_at = models.DateTimeField(null=True)
    last_tested_at = models.DateTimeField(null=True)
    last_connected_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    last_test = models.JSONField(
        default=list, db_default=[], help_text="The named checks of the last connection test."
    )
    test_requested_at = models.DateTimeField(null=True)
    needs_test = models.BooleanField(
        default=False,
        db_default=False,
        help_text="No mere answer makes it healthy: a test of what it is now must pass first.",
    )
    consecutive_failures = models.IntegerField(default=0, db_default=0)
    failing_since = models.DateTimeField(null=True)
    unreachable_at = models.DateTimeField(
        null=True, help_text="When it last did not answer; empty when its login is what is wrong."
    )
    error_code = models.CharField(
        max_length=64, blank=True, default="", db_default="",
        help_text="What is wrong, where entries say it with a code of its own.",
    )  # fmt: skip
    errored_at = models.DateTimeField(
        null=True, help_text="When it last came to be in error: older comparisons do not count."
    )
    read_after = models.DateTimeField(
        null=True, help_text="Its account is not read by itself before; set with an error."
    )
    inactivity_alerted_at = models.DateTimeField(
        null=True, help_text="When it was told that nothing is heard of it (connections/silence)."
    )
    monitored_since = models.DateTimeField(
        null=True, help_text="When it was switched on: its silence before says nothing."
    )
    circuit_open_until = models.DateTimeField(null=True)
    reconciled_at = models.DateTimeField(
        null=True, help_text="First clean comparison since the last (re)connect; no entry before."
    )

    class Meta:
        indexes = [
            models.Index(
                fields=["last_error_at"],
                name="health_in_doubt",
                condition=Q(unreachable_at__isnull=False),
            ),
            models.Index(
                fields=["read_after"], name="health_may_not_trade", condition=~Q(error_code="")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.connection_id}: {self.status}"

    def word(self, now: datetime) -> str:
        """Return untested, error, resting, stale or healthy at machine time `now`."""
        if self.circuit_open_until is not None and self.circuit_open_until > now:
            return "resting"
        if self.status != HealthStatus.ACTIVE:
            return self.status.lower()
        return "stale" if self.is_stale(now, STALE_AFTER) else "healthy"

    def has_error(self) -> bool:
        """Whether the last contact with the broker failed."""
        return self.status == HealthStatus.ERROR

    def is_stale(self, now: datetime, after: timedelta) -> bool:
        """Whether the broker was not spoken to for longer than `after`, or never."""
        return self.last_connected_at is None or now - self.last_connected_at > after


class HostCircuit(models.Model):
    """A broker's host that most of its accounts could not reach: while it is open, entries wait."""

    host = models.CharField(primary_key=True, max_length=120)
    opened_at = models.DateTimeField(null=True, help_text="Empty: closed.")
    closed_at = models.DateTimeField(null=True)
    probe_at = models.DateTimeField(null=True, help_text="When one account is read as a probe.")
    times = models.SmallIntegerField(default=0, help_text="Openings, one soon after another.")
    failing = models.IntegerField(default=0, help_text="Accounts that did not answer.")
    contacted = models.IntegerField(default=0, help_text="Of so many in half a minute.")
    message = models.TextField(blank=True, default="")

    def __str__(self) -> str:
        return self.host


class AccountSnapshot(models.Model):
    """The account as the broker last told it, in the account's currency."""

    connection = models.OneToOneField(
        "connections.ExecutionConnection", models.CASCADE, primary_key=True, related_name="snapshot"
    )
    currency = models.CharField(max_length=10)
    balance = AmountField()
    equity = AmountField()
    margin_used = AmountField()
    free_margin = AmountField()
    leverage = AmountField()
    position_mode = models.CharField(max_length=8)
    read_at = models.DateTimeField(help_text="Machine time of the read's start.")

    def __str__(self) -> str:
        return f"{self.connection_id}: {self.equity} {self.currency}"


class ConnectionLock(models.Model):
    """A row that is only locked, never written: the order of work on one account."""

    connection = models.OneToOneField(
        "connections.ExecutionConnection",
        models.CASCADE,
        primary_key=True,
        related_name="connection_lock",
    )

    class Meta:
        verbose_name_plural = "connection locks"

    def __str__(self) -> str:
        return str(self.connection_id)
