"""Loss limits and their pauses for tests of pages and of the API."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from common.clocks import market_now
from connections.models import (
    CashFlow,
    ExecutionConnection,
    LossLimit,
    TradingPause,
    TradingPreset,
)


def limit_of(preset: TradingPreset | None, **fields: Any) -> LossLimit:
    """Return a stored limit: by default 5 percent of equity in a trading day."""
    values: dict[str, Any] = {"maximum": Decimal(5)} | fields
    return LossLimit.objects.create(preset=preset, **values)


def pause_of(connection: ExecutionConnection, **fields: Any) -> TradingPause:
    """Return a stored pause of an account, by default without a limit."""
    now = market_now()
    values: dict[str, Any] = {
        "code": "LOSS_LIMIT", "name": "Fall of the equity from its first value in the trading day",
        "value": Decimal("5.2"), "maximum": Decimal(5), "unit": "PERCENT",
        "detail": "Fall of the equity: 5.2 %, maximum 5 %", "action": "PAUSE", "since": now,
        "until": now + timedelta(hours=1),
    } | fields  # fmt: skip
    return TradingPause.objects.create(connection=connection, **values)


def cash_flow_of(connection: ExecutionConnection, amount: str = "1000", **fields: Any) -> CashFlow:
    """Return a stored deposit that its owner entered."""
    values: dict[str, Any] = {"at": market_now(), "origin": CashFlow.Origin.OWNER} | fields
    return CashFlow.objects.create(connection=connection, amount=Decimal(amount), **values)
