"""The latest price of each symbol, and its minute bars, by source."""

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


class PriceBar(models.Model):
    """What a symbol did at a source in one minute of the market clock. Kept for a week.

    Rows are updated in place, like the latest quotes. spread_sum / quote_count is the mean spread.
    """

    data_connection = models.ForeignKey(
        DataConnection, models.CASCADE, related_name="price_bars", db_index=False
    )
    symbol = models.CharField(max_length=20, help_text="Canonical BASE/QUOTE.")
    minute = models.DateTimeField(help_text="Start of the minute, market clock.")
    bid_open = AmountField()
    bid_high = AmountField()
    bid_low = AmountField()
    bid_close = AmountField()
    ask_open = AmountField()
    ask_high = AmountField()
    ask_low = AmountField()
    ask_close = AmountField()
    spread_sum = AmountField(help_text="Sum of ask - bid over the quotes.")
    quote_count = models.IntegerField()
    first_at = models.DateTimeField(help_text="Of the quote that opened the bar, market clock.")
    last_at = models.DateTimeField(help_text="Of the quote that closed it, market clock.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["data_connection", "symbol", "minute"], name="one_price_bar_a_minute"
            ),
            models.CheckConstraint(
                condition=Q(
                    bid_low__gt=0,
                    bid_high__gte=F("bid_low"),
                    ask_high__gte=F("ask_low"),
                    spread_sum__gte=0,
                    quote_count__gt=0,
                ),
                name="price_bar_in_order",
            ),
        ]
        indexes = [models.Index(fields=["minute"], name="price_bar_minute")]

    def __str__(self) -> str:
        return f"{self.symbol} {self.minute:%Y-%m-%d %H:%M}"
