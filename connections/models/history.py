"""The history of an account's balance and equity, and its deposits and withdrawals."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from common.clocks import market_now
from common.db.functions import ClockTimestamp
from common.db.row_faults import FieldConstraints
from common.fields import AmountField, ChoiceField
from connections.models.accounts import ExecutionConnection


class AccountHistory(models.Model):
    """Balance and equity as first read in a period, and their highest values in it.

    A period is an hour. It also begins where a window of a loss limit can begin: at the start of a
    trading day, at a deposit or withdrawal, and when trading was resumed by hand; and with a state
    that may show a deposit which is not known yet. Times are market time, amounts are in the
    account's currency.
    """

    connection = models.ForeignKey(
        ExecutionConnection, models.CASCADE, related_name="history", db_index=False
    )
    period_start = models.DateTimeField()
    currency = models.CharField(max_length=10)
    read_at = models.DateTimeField(help_text="When balance and equity were first read.")
    balance = AmountField()
    equity = AmountField()
    peak_balance = AmountField()
    peak_balance_at = models.DateTimeField()
    peak_equity = AmountField()
    peak_equity_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "account history"
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "period_start"], name="one_history_row_a_period"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.connection_id} at {self.period_start}: {self.equity} {self.currency}"


class CashFlow(FieldConstraints, models.Model):
    """A deposit (above 0) or a withdrawal, in the account's currency. Loss limits leave it out."""

    class Origin(models.TextChoices):
        """Who reported it."""

        BROKER = "BROKER", "The broker"
        OWNER = "OWNER", "Entered by hand"

    connection = models.ForeignKey(
        ExecutionConnection, models.CASCADE, related_name="cash_flows", db_index=False
    )
    at = models.DateTimeField(help_text="When the balance changed (market time).")
    amount = AmountField(help_text="Account currency; below 0 for a withdrawal.")
    origin = ChoiceField(max_length=6, choices=Origin)
    reference = models.CharField(
        max_length=100, blank=True, default="", db_default="", help_text="The broker's own number."
    )
    is_credit = models.BooleanField(
        default=False, db_default=False, help_text="It changed the equity, not the balance."
    )
    note = models.CharField(max_length=200, blank=True, default="", db_default="")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        ordering = ("-at", "-id")
        constraints = [
            models.CheckConstraint(condition=~Q(amount=0), name="cash_flow_has_amount"),
            models.UniqueConstraint(
                fields=["connection", "reference"],
                condition=~Q(reference=""),
                name="one_cash_flow_a_reference",
            ),
        ]
        indexes = [models.Index(fields=["connection", "at"], name="cash_flow_of_connection")]

    def __str__(self) -> str:
        return f"{self.connection_id}: {self.amount}"

    def clean(self) -> None:
        """Raise ValidationError for an amount of 0 and for a time in the future."""
        errors = {}
        at: datetime | None = self.at
        if self.amount == 0:
            errors["amount"] = "The amount must not be 0."
        if at is not None and at > market_now():
            errors["at"] = "It must not be in the future."
        if errors:
            raise ValidationError(errors)


class FundingPayment(models.Model):
    """What an exchange charged or paid for a perpetual's position at one of its funding times."""

    connection = models.ForeignKey(
        ExecutionConnection, models.CASCADE, related_name="funding_payments", db_index=False
    )
    reference = models.CharField(max_length=100, help_text="The exchange's number.")
    symbol = models.CharField(max_length=40)
    amount = AmountField(help_text="Below 0 if it was charged.")
    currency = models.CharField(max_length=10)
    quantity = AmountField(
        null=True, help_text="Of the whole position there, base units; empty: not stated."
    )
    at = models.DateTimeField(help_text="The exchange's time.")
    recorded_at = models.DateTimeField(db_default=ClockTimestamp())
    booked_at = models.DateTimeField(null=True)
    shares = models.JSONField(
        default=dict, db_default={}, blank=True,
        help_text="What each position got of it, by the position's id.",
    )  # fmt: skip

    class Meta:
        default_permissions = ()
        ordering = ("-at", "-id")
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "reference"], name="one_funding_a_reference"
            ),
        ]
        indexes = [
            models.Index(
                fields=["id"], name="funding_unbooked", condition=Q(booked_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.connection_id}: {self.amount} {self.currency}"


class CashFlowRead(models.Model):
    """How far the deposits and withdrawals of an account are known. Times are machine time.

    retry_at set, missing_since not: the broker does not list them. Both set: a read has failed.
    """

    connection = models.OneToOneField(
        ExecutionConnection, models.CASCADE, primary_key=True, related_name="cash_flow_read"
    )
    read_at = models.DateTimeField(
        null=True, help_text="`read_at` of the last state that was stored with its flows."
    )
    equity = AmountField(null=True, help_text="Of that state.")
    missing_since = models.DateTimeField(
        null=True, help_text="`read_at` of the first state since then without its flows."
    )
    error = models.CharField(max_length=200, blank=True, default="", db_default="")
    retry_at = models.DateTimeField(
        null=True, help_text="The broker does not list them; it is tried again then."
    )

    @property
    def is_refused(self) -> bool:
        """Whether the broker does not list them."""
        return self.retry_at is not None and self.missing_since is None

    def __str__(self) -> str:
        return f"{self.connection_id}: {self.error or self.read_at}"
