"""Orders that were sent as one, in words, for pages."""

from decimal import Decimal

from common.web.formatting import quantity
from execution.models import Order

ZERO = Decimal(0)


def sent_with_text(order: Order) -> str:
    """Return with which others an order was sent as one, "" if it was sent alone."""
    others = list(order.sent_with)
    if not others:
        return ""
    whole = sum((one.quantity or ZERO for one in others), order.quantity or ZERO)
    names = ", ".join(f"O-{one.pk}" for one in others)
    return (
        f"Sent as one order of {quantity(whole, order.pair)} with {names}; what the broker executed"
        " is allotted by size."
    )


def cancelled_with_text(order: Order) -> str:
    """Return what cancelling an order does to those that it was sent with, "" if it was alone."""
    names = ", ".join(f"O-{one.pk}" for one in order.sent_with.filter(done_at__isnull=True))
    if not names or order.submitted_at is None:
        return ""
    return f"It is one order at the broker, so this also cancels what is not filled of {names}."
