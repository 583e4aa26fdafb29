"""What a signal's publication came too late for, by the market of that moment. Pure.

A provider who publishes an entry after the price has moved shows a result that no subscriber could
have had. Such a signal is marked in its link of the record; docs/records.md defines the marks.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import models

from signals.checks.price_guard import Reference
from signals.models import Action, Direction, OrderType, Signal

WRITTEN_BEFORE = timedelta(seconds=60)
QUOTE_AGE = timedelta(seconds=60)  # an older quote is not the market of the moment
SMALLEST_MOVE = Decimal("0.0002")  # 2 basis points: what a market moves while an alert travels


class Mark(models.TextChoices):
    """What is wrong with when a signal was published."""

    WRITTEN_EARLIER = "WRITTEN_EARLIER", "Written more than a minute before it was published"
    ENTRY_PASSED = "ENTRY_PASSED", "The market had reached its entry price already"
    PRICE_MOVED = "PRICE_MOVED", "The market was worse than the price it states"
    LEVEL_PASSED = "LEVEL_PASSED", "The market had reached its stop or a target already"


def fresh(market: Reference | None, now: datetime) -> Reference | None:
    """Return the market if its quote is of this moment, else None. now: market time."""
    return market if market is not None and now - market.time <= QUOTE_AGE else None


def marks_of(
    signal: Signal, market: Reference | None, *, written_at: datetime, now: datetime
) -> list[Mark]:
    """Return the marks of a signal that is published now.

    market: the newest quote; one that is not of this moment is not compared. written_at: when it
    was stored, market time, as now.
    """
    marks = []
    written = min(written_at, signal.sent_at or written_at)
    if now - written > WRITTEN_BEFORE:
        marks.append(Mark.WRITTEN_EARLIER)
    if (current := fresh(market, now)) is not None:
        marks += _price_marks(signal, current)
    return marks


def _price_marks(signal: Signal, market: Reference) -> Iterator[Mark]:
    sign = 1 if signal.direction == Direction.BUY else -1
    enters, leaves = (market.ask, market.bid) if sign > 0 else (market.bid, market.ask)
    if signal.action == Action.OPEN:
        is_waiting = signal.order_type != OrderType.MARKET
        if is_waiting and _is_entry_passed(signal, sign, enters):
            yield Mark.ENTRY_PASSED
        if signal.order_type == OrderType.MARKET and signal.open_price is not None:
            tolerance = max(market.ask - market.bid, signal.open_price * SMALLEST_MOVE)
            if (enters - signal.open_price) * sign > tolerance:
                yield Mark.PRICE_MOVED
    if signal.action == Action.CLOSE:
        return
    # The levels of an entry that waits count from its price on.
    if signal.action == Action.MODIFY or signal.order_type == OrderType.MARKET:
        is_stopped = signal.sl is not None and (leaves - signal.sl) * sign <= 0
        if is_stopped or any((leaves - price) * sign >= 0 for price in signal.target_prices):
            yield Mark.LEVEL_PASSED


def _is_entry_passed(signal: Signal, sign: int, enters: Decimal) -> bool:
    """Whether a waiting entry would be filled or triggered at once. enters: ask of a BUY."""
    is_limit = signal.order_type == OrderType.LIMIT
    price: Decimal | None = signal.open_price if is_limit else signal.stop_price
    if price is None:
        return False
    above = (enters - price) * sign
    comes_back = is_limit or signal.order_type == OrderType.IF_TOUCHED
    return above <= 0 if comes_back else above >= 0  # else STOP, STOP_LIMIT
