"""What happened to an order and why, in sentences, for the console and the portal.

Denied: by our own rules. Rejected: by the broker. Skipped: the account was not eligible. Failed:
proven not sent. Unknown: sent, outcome not known.
"""

from dataclasses import dataclass
from decimal import Decimal

from analytics.orders.end_times import end_of
from analytics.orders.figures import stated_detail
from analytics.orders.money import currency_of
from analytics.orders.reasons import OrderReason, reason_of
from common.clocks import market_at
from common.currencies import money_places
from common.ended_orders import is_ended_wait
from common.money import plain
from common.reason_codes import Code
from common.units import unit_label
from common.web.formatting import CANCELLING, STATES, StateLabel, amount, clock, number
from common.web.formatting import quantity as with_unit
from execution.models import AT_BROKER, Order, Status
from signals.models import OrderType

LEAD = {
    "SKIPPED": "Skipped",
    "DENIED": "Denied by our rules",
    "REJECTED": "Rejected by the broker",
    "FAILED": "Failed",
    "CANCELLED": "Cancelled",
    "EXPIRED": "Expired",
    "UNKNOWN": "Unknown",
}
NOTHING_SENT = {"SKIPPED", "DENIED", "FAILED"}
CANCEL_NOT_CONFIRMED = {"CANCEL_DELAYED", "CANCEL_UNANSWERED"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happened to an order.

    summary: one sentence. brief: the same for lists that show the state beside it; may be empty.
    detail: the figures and details of this case; may be empty. why: these, and what to do. code: a
    reason code.
    """

    state: StateLabel
    summary: str
    brief: str
    detail: str
    why: str
    code: str


def explain(order: Order) -> Explanation:
    """Return what happened to an order and why, in sentences."""
    reason, detail = reason_of(order), stated_detail(order)
    return Explanation(
        STATES[order.status],
        _summary(order, reason),
        _brief(order, reason),
        detail,
        _why(order, reason, detail),
        reason.code,
    )


def _brief(order: Order, reason: OrderReason) -> str:
    if not reason.code:
        return _progress(order)
    if _is_share_moved(order, reason):
        return f"{_progress(order)} {reason.sentence}"
    since = f"Waiting{_since(reason)}{_until(order)}: " if reason.since else ""
    return f"{since}{reason.sentence}"


def _summary(order: Order, reason: OrderReason) -> str:
    if lead := _lead(order):
        return f"{lead}: {_lowered(reason.sentence)}" if reason.code else f"{lead}."
    if order.status == "PENDING" and reason.code:
        return f"Not sent yet; waiting{_since(reason)}{_until(order)}: {_lowered(reason.sentence)}"
    happened = _progress(order) or f"{STATES[order.status].word}."
    cancel_failed = order.status in AT_BROKER and order.reason in CANCEL_NOT_CONFIRMED
    says_why = cancel_failed or _is_share_moved(order, reason)
    return f"{happened} {reason.sentence}" if says_why else happened


def _is_share_moved(order: Order, reason: OrderReason) -> bool:
    """Return whether what the order has filled is explained by another member of its aggregate."""
    return order.status == Status.FILLED and reason.code == Code.SHARE_MOVED


def _progress(order: Order) -> str:
    """Return how far an order has come; empty if it ended unfilled."""
    filled, quantity = number(order.filled_quantity), with_unit(order.quantity, order.pair)
    working = f"Not filled yet; working at the broker{_resting(order)}{_until(order)}."
    rest = f"the rest is working{_until(order)}"
    if order.pending_action:
        rest = "the rest is being cancelled"
    sentences = {
        "PENDING": "Not sent yet; a worker will send it within seconds.",
        "SUBMITTING": "Being sent to the broker.",
        "SUBMITTED": CANCELLING if order.pending_action else working,
        "PARTIALLY_FILLED": f"Filled {filled} of {quantity}{_at(order)}; {rest}.",
        "CANCEL_REQUESTED": CANCELLING,
        "FILLED": f"Filled {_of_size(order)}{_at(order)}.",
    }
    return sentences.get(order.status, "")


def _of_size(order: Order) -> str:
    """Return what a filled order has, beside its size if that differs."""
    filled = with_unit(order.filled_quantity, order.pair)
    if order.quantity is None or order.filled_quantity == order.quantity:
        return filled
    return f"{number(order.filled_quantity)} of {with_unit(order.quantity, order.pair)}"


def _lead(order: Order) -> str:
    """Return how the order ended. If its signal expired while it waited, it was only not sent."""
    if is_ended_wait(order.reason, order.status):
        return "Not sent"
    return LEAD.get(order.status, "")


def _why(order: Order, reason: OrderReason, detail: str) -> str:
    parts = [detail, _cost(order), reason.hint]
    if order.status in NOTHING_SENT or is_ended_wait(order.reason, order.status):
        parts.insert(1, "Nothing was sent.")
    return " ".join(part for part in parts if part)


def _since(reason: OrderReason) -> str:
    """Return since when an order waits, on the market clock, as pages show machine times."""
    return f" since {clock(market_at(reason.since))} UTC" if reason.since else ""


def _until(order: Order) -> str:
    """Return until when an entry works, and who ends it."""
    end = end_of(order)
    return f", {end.text}" if end else ""


def _at(order: Order) -> str:
    if order.avg_fill_price is None:
        return ""
    return f" at {format_price(order.avg_fill_price, order.pip)}{_worse(order)}"


def _worse(order: Order) -> str:
    slipped, unit = order.slippage_pips, unit_label(order.slippage_unit)
    if slipped is None:
        return ""
    if not slipped:
        return ", the requested price"
    return (
        f", {number(abs(slipped), 1)} {unit} {'worse' if slipped > 0 else 'better'} than requested"
    )


def _cost(order: Order) -> str:
    """Return what the slippage cost or gained, in the account's currency."""
    cost = slippage_cost(order)
    if cost is None or not order.expected_price:
        return ""
    requested = f"Requested price {format_price(order.expected_price, order.pip)}"
    currency = currency_of(order)
    if not round(cost, money_places(currency)):
        return f"{requested}."
    word = "cost" if cost > 0 else "gained"
    return f"{requested}; the difference {word} {amount(abs(cost), currency)}."


def slippage_cost(order: Order) -> Decimal | None:
    """Return the account currency lost to slippage; negative: gained, None: not known."""
    expected, got, rate = order.expected_price, order.avg_fill_price, order.conversion_rate
    if order.slippage_pips is None or expected is None or got is None or rate is None:
        return None
    sign = 1 if order.side == "BUY" else -1
    cost: Decimal = (got - expected) * sign * rate * order.filled_quantity
    return cost if order.filled_quantity else None


def _resting(order: Order) -> str:
    if order.trail_distance and order.order_type == OrderType.TRAILING_STOP:
        distance = format_price(order.trail_distance, order.pip)
        return f", following {distance} behind, from {format_price(order.stop_price, order.pip)} on"
    level = order.stop_price or order.limit_price  # a stop-limit order waits for its stop price
    return f", at {format_price(level, order.pip)}" if level else ""


def _lowered(text: str) -> str:
    text = text.removeprefix("Broker: ")
    return text[:1].lower() + text[1:]


def format_price(price: Decimal | None, pip: Decimal | None) -> str:
    """Format a price with its instrument's digits: one more than the pip has."""
    if price is None:
        return ""
    if not pip:
        return plain(price)
    exponent = pip.normalize().as_tuple().exponent
    places = max(-int(exponent) + 1, 0)
    return f"{price.quantize(Decimal(1).scaleb(-places)):f}"
