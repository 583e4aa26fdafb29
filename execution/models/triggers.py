"""Triggers of orders that the engine holds, and the prices that trailing ones follow."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from common.db.functions import ClockTimestamp
from common.fields import AmountField, ChoiceField
from common.money import plain
from connections.models import DataConnection, ExecutionConnection
from execution.models.orders import Order

ARMED = Q(is_armed=True)


class TriggerKind(models.TextChoices):
    """What fires a trigger. STOP: the price at its level or beyond. IF_TOUCHED: at its level or
    better. TRAILING: the price at its distance from the best one since the trigger is active."""

    STOP = "STOP"
    IF_TOUCHED = "IF_TOUCHED", "If touched"
    TRAILING = "TRAILING", "Trailing stop"


class OrderTrigger(models.Model):
    """The trigger of an entry that the engine holds. The order waits as AWAITING_TRIGGER.

    A buy is judged by the ask, a sell by the bid. Firing sets `is_armed` to false and makes the
    order due, in one statement. A person may change `level`, which then counts from `active_since`
    on; `distance` never changes. What a trailing one follows is in PricePeak, once for a pair.
    """

    order = models.OneToOneField(Order, models.CASCADE, primary_key=True, related_name="trigger")
    connection = models.ForeignKey(
        ExecutionConnection, models.PROTECT, db_index=False, related_name="+"
    )
    kind = ChoiceField(max_length=10, choices=TriggerKind)
    sent_as = models.CharField(max_length=16, help_text="The type of the order that is sent.")
    source = models.ForeignKey(
        DataConnection, models.PROTECT, null=True, db_index=False, db_constraint=False
    )
    pair = models.CharField(max_length=20)
    side = models.CharField(max_length=4)
    level = AmountField(
        null=True, help_text="Trigger price; a trailing stop's by its mark when it became active."
    )
    distance = AmountField(null=True, help_text="TRAILING: quote currency.")
    activation_price = AmountField(null=True)
    active_since = models.DateTimeField(
        null=True, help_text="Machine time; prices from then on count. Empty: not activated yet."
    )
    armed_at = models.DateTimeField(db_default=ClockTimestamp())
    is_armed = models.BooleanField(default=True, db_default=True)
    fired_at = models.DateTimeField(null=True)
    fired_price = AmountField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(is_armed=False) | Q(fired_at__isnull=True), name="fired_is_not_armed"
            ),
            models.CheckConstraint(
                condition=~Q(kind="TRAILING") & Q(level__isnull=False, active_since__isnull=False)
                | Q(kind="TRAILING", distance__gt=0, distance__isnull=False)
                & (
                    Q(level__isnull=False, active_since__isnull=False)
                    | Q(activation_price__isnull=False, active_since__isnull=True)
                ),
                name="trigger_is_complete",
            ),
        ]
        indexes = [
            models.Index(fields=["source", "pair"], name="trigger_armed", condition=ARMED),
            models.Index(
                fields=["source", "pair", "side", "level"],
                name="trigger_beyond",
                condition=ARMED & Q(kind__in=("STOP", "TRAILING")),
            ),
            models.Index(
                fields=["source", "pair", "side", "level"],
                name="trigger_if_touched",
                condition=ARMED & Q(kind="IF_TOUCHED"),
            ),
            models.Index(
                fields=["source", "pair", "side", "distance"],
                name="trigger_trailing",
                condition=ARMED & Q(kind="TRAILING"),
            ),
            models.Index(
                fields=["source", "pair", "side", "active_since"],
                name="trigger_active_since",
                condition=ARMED & Q(kind="TRAILING"),
            ),
            models.Index(
                fields=["source", "pair", "side", "activation_price"],
                name="trigger_activation",
                condition=ARMED & Q(active_since__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of O-{self.pk}"

    @property
    def condition(self) -> str:
        """What it waits for, as a part of a sentence: `stop at 1.105`."""
        name = self.get_kind_display().lower()
        if self.kind != TriggerKind.TRAILING:
            return f"{name} at {plain(self.level)}"
        start = f", from {plain(self.activation_price)} on" if self.activation_price else ""
        return f"{name}, {plain(self.distance)} behind{start}"


def trigger_of(order: Order) -> OrderTrigger | None:
    """Return the trigger of an order that the engine held, None for all others.

    Load the orders of a list with `select_related("trigger")`.
    """
    found: OrderTrigger | None = getattr(order, "trigger", None)
    return found


class PricePeak(models.Model):
    """The best price of a pair since a moment: what trailing stops follow.

    side: of the triggers that follow it. SELL: the highest bid, BUY: the lowest ask, of all quotes
    that were judged since `began_at`. A trigger follows the best of the peaks that began when it
    was active already. A new one begins when a trigger became active since the last one began.
    """

    source = models.ForeignKey(
        DataConnection, models.CASCADE, db_index=False, db_constraint=False, related_name="+"
    )
    pair = models.CharField(max_length=20)
    side = models.CharField(max_length=4)
    began_at = models.DateTimeField(help_text="Machine time.")
    price = AmountField()

    class Meta:
        indexes = [
            models.Index(fields=["source", "pair", "side", "-began_at"], name="peak_of_pair"),
        ]

    def __str__(self) -> str:
        return f"{self.pair} {self.side} {self.price}"
