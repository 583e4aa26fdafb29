"""One broker account."""

from __future__ import annotations

import uuid
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from common.clocks import market_now
from common.history import tracked
from connections.models.presets import DataConnection, TradingPreset


class ConnectionQuerySet(models.QuerySet["ExecutionConnection"]):
    def of(self, user_id: int) -> Self:
        return self.filter(user_id=user_id)

    def live(self) -> Self:
        """Not archived."""
        return self.filter(archived_at__isnull=True)


@tracked(exclude=["sealed_credentials"])
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
    sealed_credentials = models.BinaryField(null=True, blank=True, editable=False)
    credentials_changed_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Leaves a line in the audit trail."
    )
    is_active = models.BooleanField(default=True)
    is_paused = models.BooleanField(default=False)
    settings = models.JSONField(default=dict, blank=True)
    preset = models.ForeignKey(TradingPreset, models.PROTECT, null=True, blank=True)
    data_connection = models.ForeignKey(DataConnection, models.PROTECT, null=True, blank=True)
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
            models.UniqueConstraint(
                fields=["type", "exchange_name", "account"],
                condition=Q(archived_at__isnull=True),
                name="one_connection_an_account",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.type} · {self.account})"
