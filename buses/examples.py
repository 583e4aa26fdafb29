"""One event of each type, as docs/events has it: a buy of 10,000 EUR/USD for a tenant."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from typing import Any

from buses.catalogue import (
    AnalyticsReady,
    EventData,
    FanoutDone,
    Fill,
    Notice,
    OrderUpdate,
    PositionChanged,
    PositionClosed,
    PositionOpened,
    type_of,
)
from buses.envelope import Envelope
from buses.sources import as_json

ACCOUNT, TENANT = "6b1c0b8e-2f0e-4c41-9d55-0f5b8a3f7a11", 7
AT = datetime(2026, 11, 30, 12, 0, 0, 250_000, tzinfo=UTC)
CREATED, SENT = AT - timedelta(milliseconds=180), AT - timedelta(milliseconds=90)
_ORDER: dict[str, Any] = {
    "order_id": 4711, "client_order_id": "dev0000000000aB0", "broker_order_id": "88120391",
    "signal_id": 2041, "position_id": None, "strategy_id": "london-breakout",
    "trade_plan_id": "plan-17", "account_id": ACCOUNT, "broker": "mt5", "leg": "entry",
    "symbol": "EUR/USD", "broker_symbol": "EURUSD", "side": "BUY",
}  # fmt: skip
_POSITION: dict[str, Any] = {
    "position_id": 901, "state_version": 1_796_040_000_250_000, "signal_id": 2041,
    "strategy_id": "london-breakout", "trade_plan_id": "plan-17", "account_id": ACCOUNT,
    "broker": "mt5", "broker_position_id": "88120391", "symbol": "EUR/USD",
    "broker_symbol": "EURUSD", "side": "BUY", "opened_quantity": D(10_000),
    "entry_price": D("1.10002"), "stop_loss": D("1.095"), "take_profit": D("1.11"),
    "stop_guardian": "BROKER", "target_guardian": "BROKER", "commission": D("0.35"),
    "swap": D(0), "opened_at": AT,
}  # fmt: skip
_OPEN: dict[str, Any] = {
    **_POSITION, "quantity": D(10_000), "realized_pnl": D(0), "close_reason": None,
    "closed_at": None,
}  # fmt: skip

EXAMPLES: tuple[EventData, ...] = (
    OrderUpdate(
        **_ORDER, order_type="MARKET", time_in_force="IOC", status="FILLED",
        status_before="SUBMITTING", lifecycle="FILLED", code="FILL", detail="",
        quantity=D(10_000), filled_quantity=D(10_000), remaining_quantity=D(0),
        average_price=D("1.10002"), limit_price=None, stop_price=None, stop_loss=D("1.095"),
        take_profit=D("1.11"), expected_price=D("1.1"), slippage=D("0.2"), slippage_unit="PIPS",
        commission=D("0.35"), created_at=CREATED, submitted_at=SENT, filled_at=AT,
        cancelled_at=None, updated_at=AT,
    ),
    Fill(
        fill_id=5120, broker_fill_id="70012345", **_ORDER, quantity=D(10_000), price=D("1.10002"),
        expected_price=D("1.1"), slippage_pips=D("0.2"), commission=D("0.35"),
        commission_currency="USD", inferred=False, executed_at=AT, recorded_at=AT,
    ),
    PositionOpened(**_OPEN),
    PositionChanged(**_OPEN | {"stop_loss": D("1.10002")}),
    PositionClosed(
        **_POSITION, quantity=D(0), realized_pnl=D("99.8"), close_reason="tp",
        closed_at=AT + timedelta(hours=3),
    ),
    FanoutDone(
        signal_id=2041, feed="london", strategy_id="london-breakout", trade_plan_id="plan-17",
        action="OPEN", symbol="EUR/USD", side="BUY", candidates=3, published_at=CREATED,
    ),
    AnalyticsReady(day=date(2026, 11, 30), accounts=3, computed_at=AT),
    Notice(
        kind="position.unprotected", signal_id=2041, order_id=None, account_id=ACCOUNT,
        payload={"seconds": 12},
    ),
)  # fmt: skip
_SUBJECTS = {
    "order_update": ("log", "orders/4711"), "fill": ("fills", "orders/4711"),
    "position_opened": ("positions", "positions/901"), "fanout_done": ("outbox", "signals/2041"),
    "position_changed": ("log", "positions/901"), "position_closed": ("outbox", "positions/901"),
    "analytics_ready": ("announcements", "analytics/2026-11-30"),
    "notice": ("outbox", f"accounts/{ACCOUNT}"),
}  # fmt: skip


def example_of(event: type[EventData]) -> Envelope:
    """Return the example of a type in its envelope."""
    (data,) = [one for one in EXAMPLES if type(one) is event]
    source, subject = _SUBJECTS[event.type]
    part = "-position-901" if event.type == "position_changed" else ""
    is_of_account = event.type not in ("fanout_done", "analytics_ready")
    return Envelope(
        id=f"dev-0f5b8a3f-1-{source}-1234{part}",
        source="/fillcast/dev",
        type=type_of(event),
        time=AT,
        subject=subject,
        account_id=ACCOUNT if is_of_account else None,
        tenant_id=None if event.type == "analytics_ready" else TENANT,
        data=as_json(data),
    )
