"""Halts of trading."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from common.database import ClockTimestamp
from common.history import tracked
from connections.models.accounts import ExecutionConnection
from signals.models import Feed


class HaltMode(models.TextChoices):
    REDUCING = "REDUCING", "Exits only"
    HALTED = "HALTED", "Nothing is sent"


@tracked()
class KillSwitch(models.Model):
    """A halt of trading: for all, a feed, a tenant or one connection. Released ones are history."""

    class Scope(models.TextChoices):
        ALL = "ALL"
        FEED = "FEED"
        USER = "USER"
        CONNECTION = "CONNECTION"

    scope = models.CharField(max_length=10, choices=Scope)
    mode = models.CharField(max_length=8, choices=HaltMode)
    feed = models.ForeignKey(Feed, models.CASCADE, null=True, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+"
    )
    connection = models.ForeignKey(ExecutionConnection, models.CASCADE, null=True, blank=True)
    reason = models.CharField(max_length=200)
    set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    set_at = models.DateTimeField(db_default=ClockTimestamp())
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "kill switches"
        constraints = [
            models.CheckConstraint(
                condition=Q(scope="ALL", feed=None, user=None, connection=None)
                | Q(scope="FEED", feed__isnull=False, user=None, connection=None)
                | Q(scope="USER", user__isnull=False, feed=None, connection=None)
                | Q(scope="CONNECTION", connection__isnull=False, feed=None, user=None),
                name="kill_switch_names_its_scope",
            ),
        ]
        indexes = [
            models.Index(
                fields=["scope"], name="kill_switch_set", condition=Q(released_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.mode} {self.scope.lower()}"
