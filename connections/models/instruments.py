"""The instruments that brokers list."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.db.models import F, Func, Q, Value

from common.clocks import market_now
from common.fields import AmountField
from connections.market_hours import MarketState, market_state


class Instrument(models.Model):
    """A broker's symbol with its steps and limits. Accounts of one server share a book."""

    book = models.CharField(max_length=80)
    symbol = models.CharField(max_length=40, help_text="The broker's own name.")
    pair = models.CharField(max_length=20, help_text="Canonical BASE/QUOTE.")
    is_preferred = models.BooleanField(
        default=True, help_text="It is the one of several symbols of its pair that is traded."
    )
    rivals = models.CharField(
        max_length=200, default="", db_default="", blank=True,
        help_text="Other symbols of its pair that fit equally well: entries need a symbol map.",
    )  # fmt: skip
    digits = models.SmallIntegerField()
    pip = AmountField()
    quantity_min = AmountField()
    quantity_step = AmountField()
    quantity_max = AmountField()
    contract_size = AmountField(help_text="Base units in one lot at the broker.")
    stops_level = AmountField(default=Decimal(0))
    freeze_level = AmountField(
        default=Decimal(0), db_default=Decimal(0),
        help_text="Nearer to the price the broker changes no level and no order; 0: none.",
    )  # fmt: skip
    margin_rate = AmountField(default=Decimal(0))
    worth_min = AmountField(
        default=Decimal(0), db_default=Decimal(0),
        help_text="Least worth of an entry, in quote currency; 0: its broker states none.",
    )  # fmt: skip
    close_min = AmountField(
        default=Decimal(0), db_default=Decimal(0),
        help_text="Least quantity of an exit; 0: one step is enough.",
    )  # fmt: skip
    close_worth_min = AmountField(
        default=Decimal(0), db_default=Decimal(0),
        help_text="Least worth of an exit, in quote currency.",
    )  # fmt: skip
    tick = AmountField(
        default=Decimal(0), db_default=Decimal(0),
        help_text="Smallest step of its price; 0: one unit of the last digit.",
    )  # fmt: skip
    price_steps = models.JSONField(
        null=True, blank=True,
        help_text="Ticks that depend on the price: from which price on, and the tick; empty: none.",
    )  # fmt: skip
    exchange = models.CharField(
        max_length=10, default="", db_default="", blank=True,
        help_text="Calendar of its exchange; empty: unknown, or its broker states the hours.",
    )  # fmt: skip
    hours = models.JSONField(
        null=True, blank=True, help_text="Known spans and open ones, in Unix seconds."
    )
    read_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["book", "symbol"], name="one_symbol_a_book"),
            models.UniqueConstraint(
                fields=["book", "pair"],
                condition=Q(is_preferred=True),
                name="one_preferred_symbol",
            ),
            models.CheckConstraint(
                condition=Q(quantity_step__gt=0, quantity_min__gt=0, pip__gt=0),
                name="instrument_steps_gt_0",
            ),
            models.CheckConstraint(
                condition=Q(is_preferred=True) | Q(rivals=""), name="rivals_of_preferred"
            ),
        ]
        indexes = [
            models.Index(
                Func(F("pair"), Value("/"), Value(1), function="split_part"),
                name="instrument_base",
                condition=Q(is_preferred=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} ({self.book})"

    @property
    def market(self) -> MarketState:
        """Whether its market is open now, until when, and whose hours say so."""
        return market_state(self.pair, self.exchange, self.hours, market_now())


class InstrumentBook(models.Model):
    """When a book was last read, requested, and contradicted by a refusal. Machine time."""

    book = models.CharField(max_length=80, primary_key=True)
    read_at = models.DateTimeField(null=True)
    requested_at = models.DateTimeField(null=True)
    doubted_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.book
