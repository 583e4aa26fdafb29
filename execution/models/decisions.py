"""What a decision provider answered about an entry, kept for the order's page."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from common.fields import AmountField
from connections.models import DecisionProvider, ExecutionConnection
from execution.models.orders import Order


class EntryDecision(models.Model):
    """The last answer about one entry. Times are machine time.

    factor: what the size is multiplied by, NULL if there was no valid answer; `failure` states why.
    attempt: of the order; an answer about an earlier attempt does not count. market: what the
    provider was given about the market. Order and connection have no foreign key constraint: its
    locks would be in the way of the claim.
    """

    order = models.OneToOneField(
        Order, models.CASCADE, primary_key=True, related_name="decision", db_constraint=False
    )
    connection = models.ForeignKey(
        ExecutionConnection, models.CASCADE, related_name="+", db_constraint=False
    )
    provider = models.ForeignKey(
        DecisionProvider, models.SET_NULL, null=True, related_name="+", db_index=False
    )
    provider_name = models.CharField(max_length=100)
    factor = AmountField(null=True)
    reason = models.CharField(max_length=300, blank=True, default="", db_default="")
    failure = models.CharField(max_length=64, blank=True, default="", db_default="")
    detail = models.CharField(max_length=300, blank=True, default="", db_default="")
    latency_ms = models.IntegerField()
    asked_at = models.DateTimeField()
    answered_at = models.DateTimeField()
    attempt = models.SmallIntegerField()
    asked_count = models.IntegerField(default=1, db_default=1)
    market = models.JSONField(default=dict, db_default={})

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(factor__isnull=False, factor__gte=0, factor__lte=3, failure="")
                | (Q(factor__isnull=True) & ~Q(failure="")),
                name="decision_has_factor_or_failure",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider_name} about order {self.order_id}"
