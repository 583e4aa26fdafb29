"""What an entry in slices has come to: the plan, what has filled, and at which average."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from common.clocks import market_now
from common.money import divide
from common.reason_codes import Code
from execution.models import Order, SlicePlan
from execution.submission.slicing import Sibling, ending_of, slice_number
from prices.selectors import average_prices

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class SliceResult:
    """An entry in slices as people see it. Quantities: base units; prices: quote currency.

    state: RUNNING while a slice may still be sent or filled, then FILLED, or ENDED with a part of
    it; ended_by: the reason, if something ended it early. average: of what has filled.
    market_average, market_vwap: the market's mid price from the beginning until now or the end,
    weighted by time and by the number of quotes. against_arrival, against_market, against_vwap: how
    much worse (+) the average is than those; None until both are known.
    """

    plan: SlicePlan
    slices: Sequence[Order]
    filled: Decimal
    average: Decimal | None
    state: str
    ended_by: Code | None
    market_average: Decimal | None
    market_vwap: Decimal | None
    against_arrival: Decimal | None
    against_market: Decimal | None
    against_vwap: Decimal | None

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
    source = order.connection.data_connection_id
    market = vwap = None
    if source is not None:
        until = min(plan.ends_at, market_now())
        market, vwap = average_prices(source, order.pair, plan.starts_at, until) or (None, None)
    return SliceResult(
        plan=plan,
        slices=slices,
        filled=filled,
        average=average,
        state=_state(plan, slices, filled),
        ended_by=ending_of(_siblings(slices)),
        market_average=market,
        market_vwap=vwap,
        against_arrival=average and (average - plan.arrival_price) * sign,
        against_market=(average - market) * sign if average and market else None,
        against_vwap=(average - vwap) * sign if average and vwap else None,
    )


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
