"""What stays of orders that are in the archive: docs/adr/0054."""

from __future__ import annotations

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from common.fields import AmountField, ChoiceField
from connections.models import ExecutionConnection
from execution.models.status import RouteState, Status
from signals.models import OrderType, Signal

COMMAND = "manage.py read_archive orders"


class ArchivedOrder(models.Model):
    """An entry that ended without a fill, and whose row is in a file of the archive.

    It has what must still be known: that its account got its signal, how it ended, and the ids by
    which its broker may yet name it. Its file is the one whose range has its number (ArchiveFile).
    The application only adds to it, in the transaction that
    deletes the order; a trigger refuses a second entry for its signal and account.
    """

    # The fixed ones first, so that nothing is padded: there may be hundreds of millions of rows.
    id = models.BigIntegerField(primary_key=True, help_text="The order's number.")
    signal = models.ForeignKey(Signal, models.PROTECT, related_name="+", db_index=False)
    created_at = models.DateTimeField()
    done_at = models.DateTimeField()
    connection = models.ForeignKey(
        ExecutionConnection, models.PROTECT, related_name="+", db_index=False
    )
    submitted_at = models.DateTimeField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    own_valid_until = models.DateTimeField(null=True)
    routed_from = models.ForeignKey(
        ExecutionConnection, models.PROTECT, null=True, related_name="+", db_index=False
    )
    route_state = ChoiceField(
        max_length=5, choices=RouteState, blank=True, default="", db_default=""
    )
    status = ChoiceField(max_length=16, choices=Status)
    reason = models.CharField(max_length=64, blank=True, default="", db_default="")
    pair = models.CharField(max_length=20)
    side = models.CharField(max_length=4)
    order_type = ChoiceField(max_length=16, choices=OrderType)
    quantity = AmountField(null=True)
    limit_price = AmountField(null=True)
    stop_price = AmountField(null=True)
    symbol = models.CharField(
        max_length=40, blank=True, default="", db_default="", help_text="Empty if it was not sent."
    )
    client_order_id = models.CharField(max_length=18, null=True)  # NULL: it was never sent
    broker_order_id = models.CharField(max_length=64, blank=True, default="", db_default="")

    leg = "entry"

    class Meta:
        ordering = ("-id",)
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(  # those that were never sent have none
                fields=["client_order_id"],
                condition=Q(client_order_id__isnull=False),
                name="one_archived_client_order_id",
            ),
            models.CheckConstraint(
                condition=Q(status__in=(
                    Status.SKIPPED, Status.DENIED, Status.REJECTED, Status.CANCELLED,
                    Status.EXPIRED, Status.FAILED,
                )),
                name="archived_has_ended_without_fill",
            ),
        ]  # fmt: skip
        indexes = [
            # Each alone: equal keys share an entry, ten bytes a row. Both together are fifty.
            models.Index(fields=["signal"], name="archived_of_signal"),
            models.Index(fields=["connection"], name="archived_of_connection"),
            BrinIndex(fields=["created_at"], name="archived_created_at"),  # rows come in its order
        ]

    def __str__(self) -> str:
        return f"O-{self.pk} {self.side} {self.pair} {self.leg}"

    @property
    def ack_ms(self) -> float | None:
        """As `Order.ack_ms`."""
        at = self.acknowledged_at
        return (at - self.created_at).total_seconds() * 1000 if at else None

    @property
    def command(self) -> str:
        """The command that reads its whole row."""
        return f"{COMMAND} --order O-{self.pk}"
