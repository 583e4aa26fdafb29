"""The latest price of each symbol, by source."""

from django.db import models
from django.db.models import F, Q

from common.db_functions import ClockTimestamp
from common.fields import AmountField
from connections.models import DataConnection


class LatestQuote(models.Model):
    """The latest quote of a symbol at a source.

    Rows are updated in place: no changing column is indexed, so that PostgreSQL uses HOT updates.
    """

    data_connection = models.ForeignKey(
        DataConnection, models.CASCADE, related_name="latest_quotes", db_index=False
    )
    symbol = models.CharField(max_length=20, help_text="Canonical BASE/QUOTE.")
    bid = AmountField()
    ask = AmountField()
    time = models.DateTimeField(help_text="Market clock.")
    received_at = models.DateTimeField(db_default=ClockTimestamp(), help_text="Machine time.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["data_connection", "symbol"], name="one_latest_quote_a_symbol"
            ),
            models.CheckConstraint(
                condition=Q(bid__gt=0, ask__gte=F("bid")), name="quote_in_order"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.bid}/{self.ask}"
