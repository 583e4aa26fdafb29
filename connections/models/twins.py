"""Paper twins: paper accounts that take the same signals as a live subscription."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from common.fields import AmountField, ChoiceField
from connections.models.accounts import ExecutionConnection
from connections.models.subscriptions import Subscription


class TwinEnd(models.TextChoices):
    """Why a paper twin takes no signals any more."""

    STOPPED = "STOPPED", "You stopped it"
    SUBSCRIPTION = "SUBSCRIPTION", "The live subscription ended"
    FEED = "FEED", "The feed was archived"
    ACCOUNT = "ACCOUNT", "Its paper account was removed"


class SubscriptionTwin(models.Model):
    """A paper account beside a live subscription. Ended ones stay, with their history.

    twin: its own subscription to the same feed, on `connection`. opening_balance: the live
    account's last equity, in `currency`. Times are market time: it takes the signals that are
    published from started_at on, before ended_at.
    """

    subscription = models.ForeignKey(Subscription, models.CASCADE, related_name="twins")
    twin = models.OneToOneField(Subscription, models.CASCADE, related_name="twin_of")
    connection = models.OneToOneField(ExecutionConnection, models.CASCADE, related_name="twin_of")
    opening_balance = AmountField()
    currency = models.CharField(max_length=10)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    end_reason = ChoiceField(max_length=12, choices=TwinEnd, blank=True, default="")

    class Meta:
        default_permissions = ()
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=["subscription"], condition=Q(ended_at=None), name="one_running_twin"
            ),
            models.CheckConstraint(
                condition=~Q(subscription=F("twin")), name="twin_is_another_subscription"
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None, end_reason="")
                | (Q(ended_at__isnull=False) & ~Q(end_reason="")),
                name="twin_end_has_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subscription_id}: {self.connection_id}"
