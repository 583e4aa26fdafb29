"""Tiny's words into ours. Anything that is missing raises KeyError, ValueError or TypeError."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from brokers.types import (
    AccountState,
    BrokerPosition,
    CloseCause,
    Execution,
    Instrument,
    OrderReport,
    PositionMode,
    Quote,
    ReportKind,
    Side,
)
from common.reason_codes import Code

# From the documentation of Tiny, 2026-11-20. What is not listed is never believed.
CODES: Mapping[str, Code] = {
    "NO_MONEY": Code.NO_MONEY,
    "CLOSED": Code.MARKET_CLOSED,
    "NO_SYMBOL": Code.UNKNOWN_SYMBOL_AT_BROKER,
    "NO_POSITION": Code.NO_POSITION,
    "BAD_QUANTITY": Code.VOLUME_INVALID,
    "NO_TRADING": Code.TRADING_DISABLED,
    "BAD_PASSWORD": Code.CREDENTIALS_REFUSED,
    "NO_ACCOUNT": Code.UNKNOWN_ACCOUNT,
}


def time(text: str) -> datetime:
    """Read a time, aware UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def order(connection_id: str, told: Mapping[str, Any]) -> OrderReport:
    """Read an executed order. Tiny executes all of an order at once, or none of it.

    What the owner closes by hand has the entry's id, and says so.
    """
    by_hand = told["by"] == "owner"
    fills = tuple(
        Execution(
            broker_fill_id=str(fill["id"]),
            quantity=Decimal(fill["quantity"]),
            price=Decimal(fill["price"]),
            time=time(fill["time"]),
            commission=Decimal(fill["fee"]),
            commission_currency=str(told["currency"]),
        )
        for fill in told["fills"]
    )
    return OrderReport(
        kind=ReportKind.FILLED,
        connection_id=connection_id,
        client_order_id=str(told["entry"] if by_hand else told["id"]),
        broker_order_id=str(told["ticket"]),
        broker_position_id=str(told["position"]),
        fills=fills,
        close_cause=CloseCause.EXTERNAL if by_hand else None,
    )


def account(name: str, told: Mapping[str, Any]) -> AccountState:
    """Read the account's money."""
    equity, used = Decimal(told["equity"]), Decimal(told["margin"])
    return AccountState(
        account=name,
        currency=str(told["currency"]),
        balance=Decimal(told["balance"]),
        equity=equity,
        margin_used=used,
        free_margin=equity - used,
        leverage=Decimal(told["leverage"]),
        position_mode=PositionMode.HEDGING,
        time=time(told["time"]),
        trading_allowed=bool(told["trading"]),
    )


def instrument(told: Mapping[str, Any]) -> Instrument:
    """Read what can be traded. Tiny counts in base units."""
    return Instrument(
        symbol=str(told["symbol"]),
        pair=str(told["pair"]),
        digits=int(told["digits"]),
        pip=Decimal(told["pip"]),
        quantity_min=Decimal(told["least"]),
        quantity_step=Decimal(told["step"]),
        quantity_max=Decimal(told["most"]),
        contract_size=Decimal(1),
    )


def position(told: Mapping[str, Any]) -> BrokerPosition:
    """Read an open position."""
    return BrokerPosition(
        broker_position_id=str(told["position"]),
        symbol=str(told["symbol"]),
        side=Side(told["side"]),
        quantity=Decimal(told["quantity"]),
        entry_price=Decimal(told["price"]),
        client_order_id=str(told["id"]),
        opened_at=time(told["time"]),
    )


def quote(told: Mapping[str, Any]) -> Quote:
    """Read a price."""
    return Quote(str(told["pair"]), Decimal(told["bid"]), Decimal(told["ask"]), time(told["time"]))
