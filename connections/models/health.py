"""The health of connections and hosts, account snapshots, and the lock row of each connection."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, Q

from common.fields import AmountField, ChoiceField

STALE_AFTER = timedelta(days=1)


class HealthStatus(models.TextChoices):
    UNTESTED = "UNTESTED", "Never tested"
    ACTIVE = "ACTIVE", "Healthy"
    ERROR = "ERROR", "Error"


class ConnectionHealth(models.Model):
    """The health of a connection, in machine time; independent of its owner's decisions."""

    connection = models.OneToOneField(
        "connections.ExecutionConnection", models.CASCADE, primary_key=True, related_name="health"
    )
    status = ChoiceField(
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
        help_text="It becomes healthy only by a passed test, not by an answer alone.",
    )
    consecutive_failures = models.IntegerField(default=0, db_default=0)
    failing_since = models.DateTimeField(null=True)
    unreachable_at = models.DateTimeField(
        null=True, help_text="When it last did not answer; empty if the error has another cause."
    )
    error_code = models.CharField(
        max_length=64, blank=True, default="", db_default="",
        help_text="The reason code of entries, if the error has its own.",
    )  # fmt: skip
    errored_at = models.DateTimeField(
        null=True, help_text="When its last error began: older reconciliations do not count."
    )
    read_after = models.DateTimeField(
        null=True, help_text="Its account is not polled before; set with an error."
    )
    inactivity_alerted_at = models.DateTimeField(
        null=True, help_text="When its owner was alerted (connections/health/inactivity.py)."
    )
    monitored_since = models.DateTimeField(
        null=True, help_text="When it was switched on: earlier inactivity does not count."
    )
    circuit_open_until = models.DateTimeField(null=True)
    reconciled_at = models.DateTimeField(
        null=True, help_text="First clean reconciliation since the last connect; no entry before."
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
            models.Index(
                fields=["connection"],
                name="health_not_reconciled",
                condition=Q(reconciled_at=None, status="ACTIVE"),
            ),
            models.Index(
                fields=["test_requested_at"],
                name="health_test_due",
                condition=Q(test_requested_at__isnull=False)
                & (Q(last_tested_at=None) | Q(last_tested_at__lt=F("test_requested_at"))),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.connection_id}: {self.status}"

    def word(self, now: datetime) -> str:
        """Return untested, error, resting, stale or healthy. now: machine time."""
        if self.circuit_open_until is not None and self.circuit_open_until > now:
            return "resting"
        if self.status != HealthStatus.ACTIVE:
            return self.status.lower()
        return "stale" if self.is_stale(now, STALE_AFTER) else "healthy"

    def has_error(self) -> bool:
        return self.status == HealthStatus.ERROR

    def is_stale(self, now: datetime, after: timedelta) -> bool:
        """Return whether the last contact with the broker was more than `after` ago, or never."""
        return self.last_connected_at is None or now - self.last_connected_at > after


class HostCircuit(models.Model):
    """The circuit breaker of a broker's host: while it is open, entries wait."""

    host = models.CharField(primary_key=True, max_length=120)
    opened_at = models.DateTimeField(null=True, help_text="Empty: closed.")
    closed_at = models.DateTimeField(null=True)
    probe_at = models.DateTimeField(null=True, help_text="When one account is read as a probe.")
    times = models.SmallIntegerField(default=0, help_text="Openings in quick succession.")
    failing = models.IntegerField(default=0, help_text="Accounts that did not answer.")
    contacted = models.IntegerField(default=0, help_text="Accounts contacted in half a minute.")
    message = models.TextField(blank=True, default="")

    def __str__(self) -> str:
        return self.host


class AccountSnapshot(models.Model):
    """The account as the broker last reported it, in the account's currency."""

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
    demo = models.BooleanField(
        null=True, help_text="Whether its money is virtual; empty: its broker does not state it."
    )
    read_at = models.DateTimeField(help_text="Machine time of the read's start.")
    limits_checked_for = models.DateTimeField(
        null=True, help_text="`read_at` of the state that loss limits were last checked with."
    )
    limits_checked_at = models.DateTimeField(null=True)
    held_readings = models.BigIntegerField(
        default=0, db_default=0,
        help_text="Readings far from the one before that no second reading confirmed.",
    )  # fmt: skip
    last_held_reading = models.CharField(
        max_length=160, blank=True, default="", db_default="", help_text="The last of them."
    )
    funding_read_at = models.DateTimeField(
        null=True, help_text="Until when funding of perpetuals is read; empty: never."
    )
    funding_tried_at = models.DateTimeField(
        null=True, help_text="When it was last asked for, with or without success."
    )

    def __str__(self) -> str:
        return f"{self.connection_id}: {self.equity} {self.currency}"


class ConnectionLock(models.Model):
    """A row that is only locked, never written: it serialises the work on one account."""

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
