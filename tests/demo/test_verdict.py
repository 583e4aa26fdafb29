"""The demo's verdict on a run; a run in which nothing happened does not count."""

from typing import Any

import pytest

from common.reason_codes import Code
from demo.report import _verdict
from demo.results import Results, StopMoves, is_settled
from execution.models import Order
from tests.connections import make


def figures(**audit: Any) -> Results:
    well = {"ok": True, "signals": 1, "candidates": 3, "counters": {"DUP": 0}, "unread": []}
    moves = StopMoves(moves=0, positions=0, closed=0)
    return Results([], [], [], [], [], moves, 0, 0, 0, None, None, {**well, **audit})


def test_verdict_holds_for_a_correct_run() -> None:
    assert figures().as_dict()["ok"] is True
    assert "holds" in _verdict(figures())


@pytest.mark.parametrize(
    ("audit", "why"),
    [
        ({"signals": 0}, "nothing was published"),
        ({"unread": ["paper"]}, "the books of paper could not be read"),
        ({"ok": False, "counters": {"DUP": 2}}, "DUP 2"),
    ],
)
def test_verdict_does_not_hold_and_states_why(audit: dict[str, Any], why: str) -> None:
    results = figures(**audit)
    assert results.as_dict()["ok"] is False
    assert "does not hold" in _verdict(results)
    assert why in _verdict(results)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("reason", "expected"),
    [(Code.CONNECTION_UNREACHABLE.value, True), (Code.RATE_LIMITED.value, False), ("", False)],
)
def test_summary_waits_for_orders_but_not_for_unreachable_brokers(
    reason: str, expected: bool
) -> None:
    assert is_settled()
    Order.objects.create(
        signal=make.signal(make.feed()), connection=make.connection(), leg="entry", pair="EUR/USD",
        side="BUY", order_type="MARKET", reason=reason,
    )  # fmt: skip
    assert is_settled() is expected
