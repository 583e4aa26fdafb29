"""The accounts of a subscription's route, of which one executes each signal."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from connections.models.accounts import ExecutionConnection
from connections.models.subscriptions import Subscription
from signals.models import Feed


class SubscriptionRoute(models.Model):
    """One account of a route; the subscribing account is one of them.

    An account is in one route of a feed at most. rank: the order in which accounts that are equally
    good are taken. share: its part of the signals with the policy SHARE, in proportion. symbol_map:
    its own symbols, before those of the subscription; empty for the subscribing account.
    """

    subscription = models.ForeignKey(Subscription, models.CASCADE, related_name="routes")
    feed = models.ForeignKey(Feed, models.PROTECT, related_name="+", db_index=False)
    connection = models.ForeignKey(ExecutionConnection, models.CASCADE, related_name="+")
    rank = models.SmallIntegerField()
    share = models.SmallIntegerField(default=1, db_default=1)
    symbol_map = models.JSONField(
        default=dict,
        blank=True,
        help_text="Canonical pair to this account's broker symbol, before the subscription's map.",
    )

    class Meta:
        ordering = ("rank",)
        constraints = [
            models.UniqueConstraint(fields=["feed", "connection"], name="one_route_of_feed"),
            models.UniqueConstraint(fields=["subscription", "rank"], name="one_rank_in_route"),
            models.CheckConstraint(condition=Q(share__gte=0, share__lte=1000), name="route_share"),
        ]

    def __str__(self) -> str:
        return f"{self.subscription_id}: {self.rank}. {self.connection_id}"
