"""Tiny's replies into our types. Missing or invalid values raise KeyError, ValueError, TypeError or
ArithmeticError.
"""

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

# From Tiny's documentation, 2026-11-20. An unlisted error never counts as a rejection.
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
    """Return an aware time in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def order(connection_id: str, data: Mapping[str, Any]) -> OrderReport:
    """Return the report of an executed order. Tiny executes an order completely or not at all.

    A close by the owner at Tiny has the entry's id and is marked with "by".
    """
    by_hand = data["by"] == "owner"
    fills = tuple(
        Execution(
            broker_fill_id=str(fill["id"]),
            quantity=Decimal(fill["quantity"]),
            price=Decimal(fill["price"]),
            time=time(fill["time"]),
            commission=Decimal(fill["fee"]),
            commission_currency=str(data["currency"]),
        )
        for fill in data["fills"]
    )
    return OrderReport(
        kind=ReportKind.FILLED,
        connection_id=connection_id,
        client_order_id=str(data["entry"] if by_hand else data["id"]),
        broker_order_id=str(data["ticket"]),
        broker_position_id=str(data["position"]),
        fills=fills,
        close_cause=CloseCause.EXTERNAL if by_hand else None,
    )


def account(name: str, data: Mapping[str, Any]) -> AccountState:
    """Return the account's funds."""
    equity, used = Decimal(data["equity"]), Decimal(data["margin"])
    return AccountState(
        account=name,
        currency=str(data["currency"]),
        balance=Decimal(data["balance"]),
        equity=equity,
        margin_used=used,
        free_margin=equity - used,
        leverage=Decimal(data["leverage"]),
        position_mode=PositionMode.HEDGING,
        time=time(data["time"]),
        trading_allowed=bool(data["trading"]),
    )


def instrument(data: Mapping[str, Any]) -> Instrument:
    """Return an instrument. Tiny's quantities are base units, as ours."""
    return Instrument(
        symbol=str(data["symbol"]),
        pair=str(data["pair"]),
        digits=int(data["digits"]),
        pip=Decimal(data["pip"]),
        quantity_min=Decimal(data["least"]),
        quantity_step=Decimal(data["step"]),
        quantity_max=Decimal(data["most"]),
        contract_size=Decimal(1),
    )


def position(data: Mapping[str, Any]) -> BrokerPosition:
    """Return an open position."""
    return BrokerPosition(
        broker_position_id=str(data["position"]),
        symbol=str(data["symbol"]),
        side=Side(data["side"]),
        quantity=Decimal(data["quantity"]),
        entry_price=Decimal(data["price"]),
        client_order_id=str(data["id"]),
        opened_at=time(data["time"]),
    )


def quote(data: Mapping[str, Any]) -> Quote:
    """Return a quote."""
    return Quote(str(data["pair"]), Decimal(data["bid"]), Decimal(data["ask"]), time(data["time"]))
