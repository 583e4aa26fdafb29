"""Events to send."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from buses.envelope import Envelope
from buses.sinks import Sink, SinkUnavailable

AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def event(number: int, *, type: str = "fillcast.order_update.v1", **data: Any) -> Envelope:
    """Return the event of an order."""
    account = data.pop("account", "3f0e7f64-5e3b-4a44-9f55-0d6b2f6f0001")
    values = {"order_id": number, "symbol": "EUR/USD", "status": "FILLED", **data}
    return Envelope(
        id=f"log-{number}",
        source="/fillcast/tst",
        type=type,
        time=AT,
        subject=f"orders/{number}",
        account_id=account,
        tenant_id=7,
        data=values,
    )


def is_written(sink: Sink, *numbers: int) -> bool:
    """Try to write events: on a slow machine a try may end before its answer."""
    try:
        sink.write([event(number) for number in numbers])
    except SinkUnavailable:
        return False
    return True
