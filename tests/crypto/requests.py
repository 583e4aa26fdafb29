"""An order and an account without an exchange, for processes that have no ccxt."""

from dataclasses import replace
from decimal import Decimal

from brokers.types import ConnectionSpec, OrderRequest, OrderType, Side, TimeInForce

A_SPEC = ConnectionSpec(
    connection_id="11111111-1111-4111-8111-111111111111",
    account="main",
    exchange_name="binance",
    settings={"symbols": ["BTC/USDT"]},
    credentials={"api_key": "key-1", "secret": "secret-1"},
)
AN_ORDER = OrderRequest(
    client_order_id="abc000000000000010",
    connection_id=A_SPEC.connection_id,
    account=A_SPEC.account,
    symbol="BTC/USDT",
    side=Side.BUY,
    order_type=OrderType.MARKET,
    time_in_force=TimeInForce.GTC,
    quantity=Decimal("0.5"),
)


def spec_of(exchange: str) -> ConnectionSpec:
    """Return the account of an exchange process (tests/fakes/exchange/process.py)."""
    keys = {"api_key": "key-1", "secret": "c2VjcmV0LTE=", "password": "pass-1"}
    return replace(A_SPEC, exchange_name=exchange, credentials=keys)
