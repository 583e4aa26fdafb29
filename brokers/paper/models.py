"""The paper broker's books. Only this package reads and writes them.

Rows of one account change only under that account's row lock (see `exchange.py`), which is why the
journal's links carry no foreign-key checks: they would cost a third of the broker's time.
"""

from datetime import time
from decimal import Decimal

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from common.db.functions import ClockTimestamp
from common.fields import AmountField, ChoiceField

ZERO = Decimal(0)


class PaperAccount(models.Model):
    """A customer's account, with the faults that are injected into it."""

    class Mode(models.TextChoices):
        HEDGING = "HEDGING", "One position for each entry"
        NETTING = "NETTING", "One position for each symbol"

    number = models.CharField(max_length=60, unique=True)
    owner = models.CharField(max_length=100, blank=True)
    currency = models.CharField(max_length=10, default="USD")
    balance = AmountField(default=ZERO)
    leverage = AmountField(default=Decimal(30), help_text="30 means 1:30.")
    position_mode = ChoiceField(max_length=8, choices=Mode, default=Mode.HEDGING)
    native_stops = models.BooleanField(
        default=True, help_text="Keeps stop loss and take profit at the broker."
    )
    commission_per_million = AmountField(
        default=ZERO, help_text="Account currency for 1,000,000 of notional, each side."
    )
    trading_allowed = models.BooleanField(default=True)
    password_hash = models.CharField(
        max_length=64, blank=True, help_text="Empty: any password opens the account."
    )

    latency_ms = models.PositiveIntegerField(default=0, help_text="On the way to the book.")
    reply_delay_ms = models.PositiveIntegerField(default=0, help_text="On the way back.")
    reject_code = models.CharField(
        max_length=64, blank=True, help_text="Fault: every order is refused with this code."
    )
    unreachable = models.BooleanField(
        default=False, help_text="Fault: no call gets through; the caller sees it."
    )
    silent_before = models.BooleanField(
        default=False, help_text="Fault: orders are lost on the way; no answer."
    )
    silent_after = models.BooleanField(
        default=False, help_text="Fault: orders are taken and executed; no answer."
    )
    drop_every_nth = models.PositiveIntegerField(
        default=0, help_text="Fault: the answer to every nth order is lost; 0: none is."
    )
    drops_levels = models.BooleanField(
        default=False,
        help_text="Fault: orders and changes are taken, and their stops and targets fall away.",
    )
    partial_fill_max = AmountField(
        null=True, blank=True, help_text="Base units that an order gets from one quote."
    )
    orders_taken = models.PositiveIntegerField(
        default=0, editable=False, help_text="Counted while drop_every_nth is set."
    )
    opened_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    class Meta:
        db_table = "paper_account"
        constraints = [
            models.CheckConstraint(
                condition=Q(leverage__gt=0, commission_per_million__gte=0)
                & (Q(partial_fill_max__isnull=True) | Q(partial_fill_max__gt=0)),
                name="paper_account_in_range",
                violation_error_message=(
                    "Leverage is above 0, commission per million 0 or more, partial "
                    "fill max above 0 or empty."
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.number


class PaperInstrument(models.Model):
    """An instrument of the paper broker. Quantities in base units, distances in price."""

    symbol = models.CharField(max_length=20, unique=True)
    pair = models.CharField(max_length=20, unique=True, help_text="Canonical BASE/QUOTE.")
    digits = models.SmallIntegerField()
    pip = AmountField()
    quantity_min = AmountField()
    quantity_step = AmountField()
    quantity_max = AmountField()
    contract_size = AmountField()
    stops_level = AmountField(default=ZERO)
    margin_rate = AmountField(default=ZERO, help_text="0: 1 / the account's leverage.")
    day_ends = models.TimeField(default=time(22), help_text="UTC; ends orders for the DAY.")
    quote_max_age_seconds = models.PositiveIntegerField(
        default=600, help_text="Market time; with an older quote the market is closed."
    )

    class Meta:
        db_table = "paper_instrument"
        constraints = [
            models.CheckConstraint(
                condition=Q(pip__gt=0, quantity_min__gt=0, quantity_step__gt=0, quantity_max__gt=0)
                & Q(contract_size__gt=0, stops_level__gte=0, margin_rate__gte=0),
                name="paper_instrument_in_range",
            ),
        ]

    def __str__(self) -> str:
        return self.symbol


class PaperQuote(models.Model):
    """The current price, one row per symbol. Updated in place, so without further indexes."""

    symbol = models.CharField(max_length=20, primary_key=True)
    bid = AmountField()
    ask = AmountField()
    time = models.DateTimeField(help_text="Market clock.")

    class Meta:
        db_table = "paper_quote"

    def __str__(self) -> str:
        return f"{self.symbol} {self.bid}/{self.ask}"


class PaperOrder(models.Model):
    """The journal: every order that reached the book, in the order in which it did.

    client_order_id is deliberately not unique: a journal must be able to show a duplicate. The
    broker's own exits (stop, target, the owner's hand) have none, but the entry they end.
    """

    class Status(models.TextChoices):
        WORKING = "WORKING"
        FILLED = "FILLED"
        CANCELLED = "CANCELLED"
        EXPIRED = "EXPIRED"
        REJECTED = "REJECTED"

    id = models.BigIntegerField(primary_key=True, help_text="The ticket.")
    account = models.ForeignKey(
        PaperAccount, models.PROTECT, db_constraint=False, db_index=False, related_name="orders"
    )
    connection_id = models.CharField(max_length=60, blank=True, help_text="Repeated in reports.")
    client_order_id = models.CharField(max_length=40, blank=True)
    symbol = models.CharField(max_length=20)
    side = models.CharField(max_length=4)
    order_type = models.CharField(max_length=16)
    time_in_force = models.CharField(max_length=4)
    quantity = AmountField()
    filled_quantity = AmountField(default=ZERO)
    limit_price = AmountField(null=True)
    stop_price = AmountField(null=True)
    stop_loss = AmountField(null=True)
    take_profit = AmountField(null=True)
    reduce_only = models.BooleanField(default=False)
    closes = models.BigIntegerField(
        null=True, help_text="Position that it closes, if it named one."
    )
    close_cause = models.CharField(max_length=16, blank=True)
    entry = models.BigIntegerField(null=True, help_text="Ticket of the entry a broker's exit ends.")
    status = ChoiceField(max_length=9, choices=Status)
    reason = models.CharField(max_length=64, blank=True)
    detail = models.CharField(max_length=200, blank=True)
    watch = models.CharField(
        max_length=6, blank=True, help_text="What a working one waits for: LIMIT, STOP, MARKET."
    )
    trigger_price = AmountField(null=True, help_text="The price that it waits for.")
    expires_at = models.DateTimeField(null=True, help_text="Market clock.")
    time = models.DateTimeField(help_text="When it reached the book, market clock.")
    accepted_at = models.DateTimeField(
        null=True, help_text="The same in machine time; empty: refused."
    )

    class Meta:
        db_table = "paper_order"
        indexes = [
            models.Index(fields=["client_order_id"], name="paper_order_client_id"),
            models.Index(
                fields=["symbol", "watch", "side", "trigger_price"],
                name="paper_order_working",
                condition=Q(status="WORKING"),
            ),
            models.Index(
                fields=["expires_at"],
                name="paper_order_expiring",
                condition=Q(status="WORKING", expires_at__isnull=False),
            ),
            models.Index(
                fields=["account"], name="paper_order_open", condition=Q(status="WORKING")
            ),
            models.Index(
                fields=["entry"],
                name="paper_order_broker_exit",
                condition=Q(entry__isnull=False),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(filled_quantity__gte=0, filled_quantity__lte=models.F("quantity")),
                name="paper_order_filled_le_quantity",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.side} {self.quantity} {self.symbol} {self.status}"


class PaperFill(models.Model):
    """One execution. What it closes names the entry's lot; money is in the account's currency."""

    id = models.BigIntegerField(primary_key=True)
    order = models.ForeignKey(PaperOrder, models.PROTECT, db_constraint=False, related_name="fills")
    account = models.ForeignKey(PaperAccount, models.PROTECT, db_constraint=False, db_index=False)
    lot = models.BigIntegerField(help_text="Ticket of the entry that it opened or closed.")
    is_exit = models.BooleanField()
    side = models.CharField(max_length=4)
    quantity = AmountField()
    price = AmountField()
    commission = AmountField()
    profit = AmountField(help_text="Realized, before commission.")
    time = models.DateTimeField(help_text="Market clock.")

    class Meta:
        db_table = "paper_fill"
        # Executions are appended as time goes on; this costs next to nothing for each of them.
        indexes = [BrinIndex(fields=["time"], name="paper_fill_time", autosummarize=True)]
        constraints = [
            models.CheckConstraint(
                condition=Q(quantity__gt=0, price__gt=0), name="paper_fill_in_range"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.quantity} @ {self.price}"


class PaperPosition(models.Model):
    """What is left of one entry (a lot). A hedging account shows each lot as a position of its own,
    a netting account all lots of a symbol as one, under the ticket of the first (`position`)."""

    id = models.BigIntegerField(primary_key=True, help_text="Ticket of the entry.")
    position = models.BigIntegerField()
    account = models.ForeignKey(PaperAccount, models.PROTECT, db_constraint=False, db_index=False)
    connection_id = models.CharField(max_length=60, blank=True)
    client_order_id = models.CharField(max_length=40, blank=True)
    symbol = models.CharField(max_length=20)
    side = models.CharField(max_length=4)
    quantity = AmountField(help_text="Still open; 0: closed.")
    price = AmountField()
    stop_loss = AmountField(null=True)
    take_profit = AmountField(null=True)
    opened_at = models.DateTimeField(help_text="Market clock.")

    class Meta:
        db_table = "paper_position"
        indexes = [
            models.Index(
                fields=["account"], name="paper_position_open", condition=Q(quantity__gt=0)
            ),
            models.Index(
                fields=["symbol", "side", "stop_loss"],
                name="paper_position_stop",
                condition=Q(quantity__gt=0, stop_loss__isnull=False),
            ),
            models.Index(
                fields=["symbol", "side", "take_profit"],
                name="paper_position_target",
                condition=Q(quantity__gt=0, take_profit__isnull=False),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(quantity__gte=0), name="paper_position_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.side} {self.quantity} {self.symbol}"


class PaperEvent(models.Model):
    """An unsolicited report of the broker; sent again until it is acknowledged."""

    account = models.ForeignKey(PaperAccount, models.PROTECT, db_constraint=False, db_index=False)
    report = models.JSONField()
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    acknowledged_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "paper_event"
        indexes = [
            models.Index(
                fields=["id"],
                name="paper_event_unacknowledged",
                condition=Q(acknowledged_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return str(self.report)
