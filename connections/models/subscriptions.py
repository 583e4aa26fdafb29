"""Subscriptions of connections to feeds, with their intervals."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.db.models import Q

from common.fields import AmountField, ChoiceField
from common.stop_rules import (
    ATR,
    UNIT_CHOICES,
    StopRuleFields,
    describe_stop_rule,
    stop_rule_checks,
)
from connections.models.accounts import ExecutionConnection
from connections.models.limit_columns import OwnLimits, subscription_constraints
from signals.models import Feed


class Directions(models.TextChoices):
    """Which entries of a feed a subscription takes."""

    BOTH = "BOTH"
    BUY = "BUY", "Buys only"
    SELL = "SELL", "Sells only"


class PriorityClass(models.IntegerChoices):
    """Whose entries are sent first while many wait. Entries by hand and exits come before all."""

    HIGH = 1
    NORMAL = 2
    LOW = 3


class RoutePolicy(models.TextChoices):
    """How one of the accounts of a route is chosen for a signal."""

    PRICE = "PRICE", "Best price, then spread"
    HEALTH = "HEALTH", "Healthy for longest"
    LATENCY = "LATENCY", "Quickest answers"
    SHARE = "SHARE", "In proportion to shares"


class Subscription(StopRuleFields, OwnLimits):
    """A connection takes a feed's signals. Ended ones are archived; all others are candidates.

    Of its own limits and those of the preset the tighter ones apply. Its own break-even and
    trailing rule counts before that of the preset.
    """

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
    directions = ChoiceField(max_length=4, choices=Directions, default=Directions.BOTH)
    priority = models.SmallIntegerField(
        choices=PriorityClass,
        default=PriorityClass.NORMAL,
        db_default=PriorityClass.NORMAL,
        help_text="Whose entries are sent first while many wait. Only an operator gives HIGH (1).",
    )
    route_policy = ChoiceField(
        max_length=7,
        choices=RoutePolicy,
        blank=True,
        default="",
        db_default="",
        help_text="How the account that executes a signal is chosen. Empty: this account alone.",
    )
    demo_only = models.BooleanField(
        default=False,
        db_default=False,
        editable=False,
        help_text="Entries are sent only while the account has virtual money (sample orders).",
    )
    archived_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "feed"], name="one_subscription"),
            models.CheckConstraint(
                condition=Q(multiplier__gt=0), name="subscription_multiplier_gt_0"
            ),
            models.CheckConstraint(
                condition=Q(priority__in=PriorityClass.values),
                name="subscription_priority_known",
                violation_error_message="The priority is 1 (high), 2 (normal) or 3 (low).",
            ),
            models.CheckConstraint(
                condition=Q(route_policy__in=("", *RoutePolicy.values)),
                name="subscription_route_policy_known",
            ),
            *subscription_constraints(),
            *stop_rule_checks("subscription"),
        ]
        indexes = [
            models.Index(
                fields=["feed"], name="subscription_live", condition=Q(archived_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.connection_id} takes {self.feed_id}"

    @property
    def stop_rule_text(self) -> str:
        """Its break-even and trailing rule for people; empty: it has none of its own."""
        unit = self.stop_rule_unit
        return describe_stop_rule(
            self, unit if unit == ATR else dict(UNIT_CHOICES).get(unit, "").lower()
        )


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
