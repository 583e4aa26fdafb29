"""What an account did with a signal and why, in sentences for its owner. Pure.

Denied is us, rejected is the broker, skipped may not, failed never left, unknown nobody knows.
"""

from dataclasses import dataclass
from decimal import Decimal

from common.ended_orders import is_ended_wait
from common.formatting import CANCELLING, STATES, StateLabel, number
from common.formatting import quantity as with_unit
from common.money import plain
from common.units import unit_label
from execution.models import AT_BROKER, Order
from execution.order_reasons import OrderReason, reason_of

LEAD = {
    "SKIPPED": "Skipped",
    "DENIED": "Denied by our own check",
    "REJECTED": "Rejected by the broker",
    "FAILED": "Failed",
    "CANCELLED": "Cancelled",
    "EXPIRED": "Expired",
    "UNKNOWN": "Unknown",
}
NOTHING_SENT = {"SKIPPED", "DENIED", "FAILED"}
CANCEL_IN_VAIN = {"CANCEL_DELAYED", "CANCEL_UNANSWERED"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """say: what happened, in one sentence. why: the rest; code: for machines, below it."""

    state: StateLabel
    summary: str
    why: str
    code: str


def explain(order: Order) -> Explanation:
    """Return what happened to an order."""
    reason = reason_of(order)
    return Explanation(
        STATES[order.status], _summary(order, reason), _why(order, reason), reason.code
    )


def _summary(order: Order, reason: OrderReason) -> str:
    if lead := _lead(order):
        return f"{lead}: {_lowered(reason.sentence)}" if reason.code else f"{lead}."
    if order.status == "PENDING" and reason.code:
        return f"Not sent yet, it waits{_since(reason)}: {_lowered(reason.sentence)}"
    filled, quantity = number(order.filled_quantity), with_unit(order.quantity, order.pair)
    working = f"Not filled, still working at the broker{_resting(order)}."
    rest = "cancellation of the rest is requested" if order.pending_action else "the rest works"
    told = {
        "PENDING": "Not sent yet: a worker takes it within seconds.",
        "SUBMITTING": "On its way to the broker.",
        "SUBMITTED": CANCELLING if order.pending_action else working,
        "PARTIALLY_FILLED": f"Filled {filled} of {quantity}{_at(order)}; {rest}.",
        "CANCEL_REQUESTED": CANCELLING,
        "FILLED": f"Filled {with_unit(order.filled_quantity, order.pair)}{_at(order)}.",
    }
    said = told.get(order.status, STATES[order.status].word + ".")
    in_vain = order.status in AT_BROKER and order.reason in CANCEL_IN_VAIN
    return f"{said} {reason.sentence}" if in_vain else said


def _lead(order: Order) -> str:
    """Who ended it. An order whose signal became too old while it waited was refused by nobody."""
    if is_ended_wait(order.reason, order.status):
        return "Not sent"
    return LEAD.get(order.status, "")


def _why(order: Order, reason: OrderReason) -> str:
    parts = [order.detail, _cost(order), reason.hint]
    if order.status in NOTHING_SENT or is_ended_wait(order.reason, order.status):
        parts.insert(1, "Nothing was sent.")
    return " ".join(part for part in parts if part)


def _since(reason: OrderReason) -> str:
    return f" since {reason.since:%H:%M:%S} UTC" if reason.since else ""


def _at(order: Order) -> str:
    if order.avg_fill_price is None:
        return ""
    return f" at {format_price(order.avg_fill_price, order.pip)}{_worse(order)}"


def _worse(order: Order) -> str:
    slipped, unit = order.slippage_pips, unit_label(order.slippage_unit)
    if slipped is None:
        return ""
    if not slipped:
        return ", the price that was asked"
    return f", {number(abs(slipped), 1)} {unit} {'worse' if slipped > 0 else 'better'} than asked"


def _cost(order: Order) -> str:
    """What the slippage came to in the account's currency."""
    cost = slippage_cost(order)
    if cost is None or not order.expected_price:
        return ""
    asked = f"Asked for {format_price(order.expected_price, order.pip)}"
    if not round(cost, 2):
        return f"{asked}."
    return f"{asked}; the difference {'cost' if cost > 0 else 'gained'} {number(abs(cost), 2)}."


def slippage_cost(order: Order) -> Decimal | None:
    """Account currency lost to slippage, negative where it was better; None: not known."""
    expected, got, rate = order.expected_price, order.avg_fill_price, order.conversion_rate
    if order.slippage_pips is None or expected is None or got is None or rate is None:
        return None
    sign = 1 if order.side == "BUY" else -1
    cost: Decimal = (got - expected) * sign * rate * order.filled_quantity
    return cost if order.filled_quantity else None


def _resting(order: Order) -> str:
    level = order.stop_price if order.order_type == "STOP" else order.limit_price
    return f", resting at {format_price(level, order.pip)}" if level else ""


def _lowered(text: str) -> str:
    text = text.removeprefix("Broker: ")
    return text[:1].lower() + text[1:]


def format_price(price: Decimal | None, pip: Decimal | None) -> str:
    """Write a price with its instrument's own digits: one more than the pip has."""
    if price is None:
        return ""
    if not pip:
        return plain(price)
    exponent = pip.normalize().as_tuple().exponent
    places = max(-int(exponent) + 1, 0)
    return f"{price.quantize(Decimal(1).scaleb(-places)):f}"
