"""An order for tests without Django."""

from decimal import Decimal

from brokers.types import OrderRequest, OrderType, Side, TimeInForce


def order(number: str, client_order_id: str) -> OrderRequest:
    """Return a market order to buy 1,000 EUR."""
    return OrderRequest(
        client_order_id, f"c-{number}", number, "EURUSD", Side.BUY, OrderType.MARKET,
        TimeInForce.GTC, Decimal(1000),
    )  # fmt: skip
