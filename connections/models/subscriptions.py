"""Subscriptions of connections to feeds, with their intervals."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.db.models import Q

from common.fields import AmountField
from connections.models.accounts import ExecutionConnection
from signals.models import Feed


class Directions(models.TextChoices):
    """Which entries of a feed a subscription takes."""

    BOTH = "BOTH"
    BUY = "BUY", "Buys only"
    SELL = "SELL", "Sells only"


class Subscription(models.Model):
    """A connection takes a feed's signals. Ended ones are archived; all others are candidates."""

    connection = models.ForeignKey(
        ExecutionConnection, models.CASCADE, related_name="subscriptions"
    )
    feed = models.ForeignKey(Feed, models.PROTECT, related_name="subscriptions")
    is_paused = models.BooleanField(default=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Market clock.")
    multiplier = AmountField(default=Decimal(1))
    symbol_map = models.JSONField(
        default=dict,
        blank=True,
        help_text='Canonical pair to broker symbol: {"EUR/USD": "EURUSD.m"}',
    )
    directions = models.CharField(max_length=4, choices=Directions, default=Directions.BOTH)
    archived_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "feed"], name="one_subscription"),
            models.CheckConstraint(
                condition=Q(multiplier__gt=0), name="subscription_multiplier_gt_0"
            ),
        ]
        indexes = [
            models.Index(
                fields=["feed"], name="subscription_live", condition=Q(archived_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.connection_id} takes {self.feed_id}"


class SubscriptionInterval(models.Model):
    """The time in which a subscription was active (market time): [started_at, ended_at).

    From these the audit recomputes the candidates of a publication.
    """

    subscription = models.ForeignKey(Subscription, models.CASCADE, related_name="intervals")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["subscription"], condition=Q(ended_at=None), name="one_open_interval"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subscription_id}: {self.started_at} – {self.ended_at or 'now'}"
