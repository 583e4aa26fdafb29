"""The plan of an entry in slices. Its first slice is the order `entry`, the others `entry-2` …"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from common.db.functions import ClockTimestamp
from common.fields import AmountField, ChoiceField
from connections.models import ExecutionConnection
from execution.models.orders import Order
from signals.slicing import AtEnd, CatchUp, ExecutionStyle


class SlicePlan(models.Model):
    """What an entry in slices is planned to send, written once with its first intent.

    order: its first slice. quantity: the whole, in base units. offsets: seconds of each slice after
    starts_at; quantities: what each was planned to send. The same order id (seed), quantity, step
    and minimum give the same plan again (`submission/slicing.py`). The market's averages are stored
    when the entry has ended (`monitoring/slice_averages.py`). Times: market clock.
    """

    order = models.OneToOneField(Order, models.PROTECT, primary_key=True, related_name="slice_plan")
    connection = models.ForeignKey(
        ExecutionConnection, models.PROTECT, related_name="+", db_index=False
    )
    style = ChoiceField(max_length=4, choices=ExecutionStyle)
    seed = models.BigIntegerField()
    quantity = AmountField()
    quantity_step = AmountField()
    quantity_min = AmountField()
    profile_days = models.PositiveSmallIntegerField(
        null=True,
        help_text="How many days its volume profile is of; 0: no volume was known, so the slices"
        " are equal. NULL: it needs none.",
    )
    offsets = ArrayField(models.IntegerField())
    quantities = ArrayField(AmountField())
    catch_up = ChoiceField(max_length=8, choices=CatchUp)
    at_end = ChoiceField(max_length=6, choices=AtEnd)
    arrival_price = AmountField(help_text="The price at which it would have filled at its start.")
    market_average = AmountField(
        null=True, help_text="The market's mid price until `market_until`, weighted by time."
    )
    market_vwap = AmountField(null=True, help_text="The same, weighted by the number of quotes.")
    market_minutes = models.IntegerField(
        null=True, help_text="How many minutes of that time had prices; 0: none."
    )
    market_until = models.DateTimeField(
        null=True, help_text="Until when the averages count; NULL: they are not stored yet."
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(quantity__gt=0, quantity_step__gte=0, quantity_min__gte=0),
                name="plan_quantity_gt_0",
            ),
            models.CheckConstraint(
                condition=Q(
                    market_until__isnull=True,
                    market_average__isnull=True,
                    market_vwap__isnull=True,
                    market_minutes__isnull=True,
                )
                | Q(
                    market_until__isnull=False,
                    market_average__isnull=True,
                    market_vwap__isnull=True,
                    market_minutes__isnull=False,
                    market_minutes=0,
                )
                | Q(
                    market_until__isnull=False,
                    market_average__isnull=False,
                    market_vwap__isnull=False,
                    market_minutes__isnull=False,
                    market_minutes__gt=0,
                ),
                name="plan_result_is_whole",
            ),
        ]
        indexes = [
            models.Index(
                fields=["order"],
                name="plan_without_result",
                condition=Q(market_until__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.style} of O-{self.pk}: {len(self.offsets)} slices"
