"""How well orders were executed, from orders whose numbers are known."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from analytics.selectors import Quality, execution_quality
from connections.models import ExecutionConnection
from execution.models import Order, Status
from signals.models import Signal
from tests.analytics import factories

pytestmark = pytest.mark.django_db
START = datetime(2026, 3, 6, 12, tzinfo=UTC)
END = START + timedelta(hours=1)


def order(of: ExecutionConnection, signal: Signal, **fields: Any) -> Order:
    """An entry order written at START + `at` seconds; sent and filled so many ms later."""
    created = START + timedelta(seconds=fields.pop("at", 0))
    sent_ms, fill = fields.pop("sent_ms", None), fields.pop("fill", None)
    sent = created + timedelta(milliseconds=sent_ms) if sent_ms is not None else None
    values: dict[str, Any] = {
        "status": Status.FILLED,
        "quantity": D(1000),
        "filled_quantity": D(1000 if fill is not None else 0),
        "submitted_at": sent,
        "filled_at": sent + timedelta(milliseconds=fill) if sent and fill is not None else None,
        "leg": "entry",
        "pair": "EUR/USD",
        "side": "BUY",
        "order_type": "MARKET",
        "time_in_force": "GTC",
    }
    return Order.objects.create(
        signal=signal, connection=of, created_at=created, **(values | fields)
    )


def by_kind_and_pair(found: list[Quality]) -> dict[tuple[str | None, str | None], Quality]:
    return {(row.kind, row.pair): row for row in found}


def test_rates_slippage_and_latency() -> None:
    owner = factories.user()
    paper, other = factories.connection(owner), factories.connection(owner, kind="mt5")
    signals = factories.signals(owner, 20)
    for number in range(1, 11):  # slippage 0.1 … 1.0 pips, 10 … 100 ms to the wire
        order(
            paper,
            signals[number],
            sent_ms=number * 10,
            fill=number,
            slippage_pips=D(number) / 10,
        )
    order(paper, signals[11], status=Status.DENIED, quantity=None)
    order(paper, signals[12], status=Status.SKIPPED, quantity=None)
    order(paper, signals[13], sent_ms=5, status=Status.REJECTED)
    order(paper, signals[14], status=Status.FAILED)
    order(other, signals[15], sent_ms=7, status=Status.UNKNOWN)
    order(paper, signals[16], at=3600, sent_ms=9000, fill=9000)  # the end is not part of it
    order(paper, signals[17], at=-1, sent_ms=9000, fill=9000)

    found = by_kind_and_pair(execution_quality(START, END))
    assert list(found) == [
        (None, None),
        ("mt5", None),
        ("mt5", "EUR/USD"),
        ("paper", None),
        ("paper", "EUR/USD"),
    ]
    row = found["paper", "EUR/USD"]
    assert row == Quality(
        kind="paper",
        pair="EUR/USD",
        candidates=14,
        sent=11,
        filled=10,
        denied=1,
        rejected=1,
        failed=1,
        unknown=0,
        measured=10,
        slippage_unit="PIPS",
        slippage_avg=D("0.55"),
        slippage_p50=D("0.5"),
        slippage_p95=D(1),
        to_wire_p50_ms=D(50),
        to_wire_p99_ms=D(100),
        to_fill_p50_ms=D(5),
        to_fill_p99_ms=D(10),
    )
    assert row.fill_rate == D("0.909090909090909091")
    assert found[None, None].candidates == 15
    assert found[None, None].unknown == 1
    assert found["mt5", None].fill_rate == D(0)


def test_exits_and_other_tenants_orders_are_excluded() -> None:
    owner, bob = factories.user(), factories.user("bob")
    mine, his = factories.connection(owner), factories.connection(bob)
    one, two = factories.signals(owner, 2)
    order(mine, one, sent_ms=10, fill=1, slippage_pips=D(0))
    order(his, one, sent_ms=5000, fill=1, slippage_pips=D(9))
    position = factories.trade(mine, two, closed_at=START, pnl=D(1))
    position.save()
    order(mine, two, position=position, leg="sl", sent_ms=5000, fill=1, slippage_pips=D(9))

    (total, *_) = execution_quality(START, END, connection_ids=[mine.pk])
    assert (total.candidates, total.slippage_p95, total.to_wire_p99_ms) == (1, D(0), D(10))
    assert execution_quality(START, END, connection_ids=[]) == []
