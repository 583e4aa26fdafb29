"""Requests that no broker could store. Pure: client and server use it."""

from decimal import Decimal

from brokers.base import Rejected
from brokers.types import OrderRequest
from common.reason_codes import Code

MAX_NUMBER = Decimal(10) ** 18  # numeric(38,18) stores no more


def malformed(request: OrderRequest) -> Rejected | None:
    """Return the rejection of a request that the journal could not store, or None."""
    prices = (request.limit_price, request.stop_price, request.stop_loss, request.take_profit)
    if not (request.quantity.is_finite() and 0 < request.quantity < MAX_NUMBER):
        return Rejected(Code.VOLUME_INVALID, "not a quantity")
    if any(p is not None and not (p.is_finite() and 0 < p < MAX_NUMBER) for p in prices):
        return Rejected(Code.PRICE_INVALID, "not a price")
    if len(request.client_order_id) > 40 or len(request.connection_id) > 60:
        return Rejected(Code.REJECTED_BY_BROKER, "an id is too long")
    return None
