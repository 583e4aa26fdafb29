"""The latest price of each symbol, its minute bars, and what is pushed, by source."""

from django.db import models
from django.db.models import F, Q

from common.db.functions import ClockTimestamp
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
    from_fallback = models.BooleanField(
        default=False, db_default=False, help_text="Another source's, shifted: see FallbackUse."
    )

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


class FallbackUse(models.Model):
    """A pair of a source that has the prices of one of its fallbacks now, until its own are back.

    The offsets are what the source's bid and ask were more than the fallback's when it spoke last.
    """

    data_connection = models.ForeignKey(
        DataConnection, models.CASCADE, related_name="+", db_index=False
    )
    symbol = models.CharField(max_length=20, help_text="Canonical BASE/QUOTE.")
    fallback = models.ForeignKey(DataConnection, models.CASCADE, related_name="+")
    bid_offset = AmountField()
    ask_offset = AmountField()
    began_at = models.DateTimeField(db_default=ClockTimestamp(), help_text="Machine time.")
    own_at = models.DateTimeField(help_text="When the source's own last quote came, machine time.")
    own_since = models.DateTimeField(
        null=True, help_text="Since when its own quotes come again; NULL: they do not."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["data_connection", "symbol"], name="one_fallback_of_a_symbol"
            )
        ]

    def __str__(self) -> str:
        return f"{self.symbol} of {self.data_connection_id} from {self.fallback_id}"


class PushedQuote(models.Model):
    """A quote that was pushed and that the prices process has not published yet."""

    data_connection = models.ForeignKey(
        DataConnection, models.CASCADE, related_name="+", db_index=False
    )
    symbol = models.CharField(max_length=20, help_text="Canonical BASE/QUOTE.")
    bid = AmountField()
    ask = AmountField()
    time = models.DateTimeField(help_text="When it was true, by the sender's clock.")
    received_at = models.DateTimeField(db_default=ClockTimestamp(), help_text="Machine time.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(bid__gt=0, ask__gte=F("bid")), name="pushed_in_order"
            )
        ]
        indexes = [models.Index(fields=["data_connection", "id"], name="pushed_quote_source")]

    def __str__(self) -> str:
        return f"{self.symbol} {self.bid}/{self.ask}"


class PushedSymbol(models.Model):
    """The newest quote of a symbol that was pushed to a source: later ones must be newer."""

    data_connection = models.ForeignKey(
        DataConnection, models.CASCADE, related_name="+", db_index=False
    )
    symbol = models.CharField(max_length=20, help_text="Canonical BASE/QUOTE.")
    bid = AmountField()
    ask = AmountField()
    time = models.DateTimeField(help_text="By the sender's clock.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["data_connection", "symbol"], name="one_pushed_symbol_a_source"
            )
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.time:%Y-%m-%d %H:%M:%S}"


class PushRefusal(models.Model):
    """How many pushed quotes of a source were refused for a reason, since it is known."""

    data_connection = models.ForeignKey(
        DataConnection, models.CASCADE, related_name="push_refusals", db_index=False
    )
    code = models.CharField(max_length=40)
    quotes = models.BigIntegerField(default=0, db_default=0)
    last_at = models.DateTimeField(db_default=ClockTimestamp(), help_text="Machine time.")
    last_text = models.CharField(max_length=200, blank=True, help_text="Why the last one was.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["data_connection", "code"], name="one_count_of_a_push_refusal"
            )
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.quotes}"
