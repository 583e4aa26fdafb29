"""The worst price of a market order, expressed as each account supports it. Pure."""

from dataclasses import replace
from decimal import Decimal

from brokers.account_capabilities import Capabilities
from brokers.types import OrderRequest, OrderType, Side, TimeInForce

LIMIT_IOC = (OrderType.LIMIT, TimeInForce.IOC)
CHECKED_ONLY = (
    "The slippage limit of a market entry is checked right before it is sent. This broker cannot"
    " enforce it at the fill of every symbol (market execution): a fill beyond it raises an alarm."
)
ENFORCED = "The slippage limit of a market entry is enforced by the broker."
UNSUPPORTED = "This broker cannot keep a slippage limit: entries that have one are denied."


def can_limit_price(can: Capabilities) -> bool:
    """Whether an account can limit a market order's price, natively or by a limit order."""
    order_type, time_in_force = LIMIT_IOC
    by_limit = order_type in can.order_types and time_in_force in can.times_in_force
    return can.keeps_worst_price or by_limit


def with_worst_price(request: OrderRequest, can: Capabilities) -> OrderRequest:
    """Return the order to send so that it never fills beyond its worst price.

    If the broker's market orders have a price limit the adapter sets it. Otherwise the result is an
    immediate-or-cancel limit order at that price.
    """
    if request.worst_price is None or request.order_type is not OrderType.MARKET:
        return request
    if can.keeps_worst_price or not can_limit_price(can):
        return request
    order_type, time_in_force = LIMIT_IOC
    return replace(
        request,
        order_type=order_type,
        time_in_force=time_in_force,
        limit_price=request.worst_price,
    )


def describe_worst_price(can: Capabilities) -> str:
    """Return how an account treats the slippage limit of a market entry, as text for its page."""
    if not can_limit_price(can):
        return UNSUPPORTED
    return CHECKED_ONLY if can.checks_worst_price else ENFORCED


def is_worse_than(price: Decimal, worst_price: Decimal, side: Side) -> bool:
    """Whether a price is worse than the worst price allowed."""
    return (price - worst_price) * side.sign > 0
