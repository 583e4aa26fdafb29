"""What an entry in slices has come to: the plan, what has filled, and at which average."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from common.clocks import market_now
from common.money import divide
from common.reason_codes import Code
from execution.models import Order, SlicePlan
from execution.monitoring.slice_averages import counts_until
from execution.submission.slicing import Sibling, ending_of, slice_number
from prices.selectors import average_prices, minute_of

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class MarketFigures:
    """The market's averages from the beginning of an entry in slices.

    until: until when they count, market time. minutes: how many of those minutes had prices, of
    `of_minutes`. is_final: they are stored, and do not change any more.
    """

    average: Decimal | None
    vwap: Decimal | None
    until: datetime
    minutes: int
    of_minutes: int
    is_final: bool

    @property
    def text(self) -> str:
        """Until when the figures count and what is missing, for the entry's owner."""
        at = f"{self.until:%Y-%m-%d %H:%M:%S} UTC"
        until = f"Of the prices until {at}." if self.is_final else f"So far, until {at}."
        if not self.minutes:
            why = "are known" if self.is_final else "are known yet"
            return f"{until} No prices of this time {why}: the account’s price source had none."
        if self.minutes < self.of_minutes:
            return f"{until} Prices of {self.minutes} of {self.of_minutes} minutes are known."
        return until


@dataclass(frozen=True, slots=True)
class SliceResult:
    """An entry in slices as people see it. Quantities: base units; prices: quote currency.

    state: RUNNING while a slice may still be sent or filled, then FILLED, or ENDED with a part of
    it; ended_by: the reason, if something ended it early. average: of what has filled.
    market: what the market did from the beginning until now or the end. against_arrival,
    against_market, against_vwap: how much worse (+) the average is than the arrival price and than
    the market's averages; None until both are known.
    """

    plan: SlicePlan
    slices: Sequence[Order]
    filled: Decimal
    average: Decimal | None
    state: str
    ended_by: Code | None
    market: MarketFigures
    against_arrival: Decimal | None
    against_market: Decimal | None
    against_vwap: Decimal | None

    @property
    def market_average(self) -> Decimal | None:
        """The market's mid price, weighted by time."""
        return self.market.average

    @property
    def market_vwap(self) -> Decimal | None:
        """The market's mid price, weighted by the number of quotes."""
        return self.market.vwap

    @property
    def sent(self) -> int:
        """How many slices were sent."""
        return sum(order.submitted_at is not None for order in self.slices)


def slice_result(order: Order) -> SliceResult | None:
    """Return the result of the entry that this order is a slice of; None if it is not."""
    if not order.is_entry or order.signal is None or not order.signal.execution_style:
        return None
    entries = Order.objects.entries().filter(signal=order.signal_id, connection=order.connection_id)
    slices = sorted(entries, key=lambda one: slice_number(one.leg))
    plan = SlicePlan.objects.filter(order__in=slices).first()
    if plan is None:
        return None
    filled = sum((one.filled_quantity for one in slices), ZERO)
    value = sum((one.filled_quantity * (one.avg_fill_price or ZERO) for one in slices), ZERO)
    average = divide(value, filled) if filled else None
    sign = 1 if order.side == "BUY" else -1
    figures = _market(plan, order, slices)
    market, vwap = figures.average, figures.vwap
    return SliceResult(
        plan=plan,
        slices=slices,
        filled=filled,
        average=average,
        state=_state(plan, slices, filled),
        ended_by=ending_of(_siblings(slices)),
        market=figures,
        against_arrival=average and (average - plan.arrival_price) * sign,
        against_market=(average - market) * sign if average and market else None,
        against_vwap=(average - vwap) * sign if average and vwap else None,
    )


def _market(plan: SlicePlan, order: Order, slices: Sequence[Order]) -> MarketFigures:
    """Return what is stored of an entry that has ended, else what the market has done until now."""
    if plan.market_until is not None:
        until, minutes = plan.market_until, plan.market_minutes or 0
        of_minutes = _minutes(plan.starts_at, until)
        return MarketFigures(
            plan.market_average, plan.market_vwap, until, minutes, of_minutes, True
        )
    until = min(plan.ends_at, market_now())
    ended = [one.done_at for one in slices if one.done_at is not None]
    if len(ended) == len(slices):
        until = min(until, counts_until(plan.ends_at, max(ended)))
    source = order.connection.data_connection_id
    found = source and average_prices(source, order.pair, plan.starts_at, until)
    average, vwap, minutes = found or (None, None, 0)
    of_minutes = _minutes(plan.starts_at, until)
    return MarketFigures(average, vwap, until, minutes, of_minutes, False)


def _minutes(start: datetime, end: datetime) -> int:
    """Return how many minutes a period touches."""
    return (minute_of(end) - minute_of(start)) // timedelta(minutes=1) + 1


def _state(plan: SlicePlan, slices: Sequence[Order], filled: Decimal) -> str:
    if any(one.done_at is None for one in slices):
        return "RUNNING"
    return "FILLED" if filled >= plan.quantity else "ENDED"


def _siblings(slices: Sequence[Order]) -> list[Sibling]:
    return [
        Sibling(
            slice_number(one.leg), one.status, one.reason, one.quantity or ZERO, one.filled_quantity
        )
        for one in slices
    ]
