"""The terms of an order that can be changed: those that are wanted, and those that are allowed."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from execution.models import Order, Status
from execution.submission.sizing import ZERO


@dataclass(frozen=True, slots=True)
class WantedTerms:
    """What a person wants to change; None: it stays. quantity: base units, all of the order.

    stop_loss, take_profit: of the coming position; take_profit is its first target. valid_until:
    market time at which the order ends. These three are ours, and the others the broker's.
    """

    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    valid_until: datetime | None = None

    @property
    def ours(self) -> "WantedTerms":
        """What needs no call at the broker: the levels and the end."""
        return replace(self, quantity=None, limit_price=None, stop_price=None)

    @property
    def terms(self) -> "WantedTerms":
        """What the broker has."""
        return replace(self, stop_loss=None, take_profit=None, valid_until=None)

    @property
    def has_levels(self) -> bool:
        """Whether a level is among them."""
        return self.stop_loss is not None or self.take_profit is not None


@dataclass(frozen=True, slots=True)
class OrderSums:
    """What an order counts now: what has filled, its price and rate, margin and risk.

    filled: base units; expected_price: quote currency; margin, risk: account currency, of the whole
    order. is_sent: its broker has it.
    """

    filled: Decimal = ZERO
    expected_price: Decimal = ZERO
    rate: Decimal = ZERO
    margin: Decimal = ZERO
    risk: Decimal = ZERO
    is_sent: bool = False

    @classmethod
    def of(cls, order: Order) -> "OrderSums":
        """Return those of a stored order."""
        return cls(
            order.filled_quantity,
            order.expected_price or ZERO,
            order.conversion_rate or ZERO,
            order.margin or ZERO,
            order.risk or ZERO,
            order.status != Status.PENDING,
        )


@dataclass(frozen=True, slots=True)
class AllowedChange:
    """A change that may be made. Prices are rounded; margin, risk: of the whole order.

    quantity: None for an order that has none yet. raises_risk: it was checked as an entry is.
    stop_loss, take_profit: the entry's own; None: the signal's. valid_until: None: it stays.
    old_*: what counted before.
    """

    quantity: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    margin: Decimal | None = None
    risk: Decimal | None = None
    raises_risk: bool = False
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    old_stop_loss: Decimal | None = None
    old_take_profit: Decimal | None = None
    valid_until: datetime | None = None
    old_valid_until: datetime | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it is about levels or the end, and so is done at once."""
        return self.moves_levels or self.valid_until is not None

    @property
    def moves_levels(self) -> bool:
        """Whether the coming position gets another stop or target."""
        levels = ((self.stop_loss, self.old_stop_loss), (self.take_profit, self.old_take_profit))
        return any(new not in (None, old) for new, old in levels)
