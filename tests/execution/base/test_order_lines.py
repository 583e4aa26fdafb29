"""Lines about single orders in the log of a process."""

from decimal import Decimal as D
from typing import Any

import pytest
from django.test import TestCase
from structlog.testing import capture_logs

from brokers.base import Rejected
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution import services
from execution.base import order_lines
from execution.base.order_lines import FAILED, FILLED, INITIATED, LINES_A_SECOND, LineBudget
from execution.runtime.trading_runtime import TradingRuntime
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker


@pytest.fixture(autouse=True)
def full_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process may have used this second's lines."""
    monkeypatch.setattr(order_lines, "_budget", LineBudget())


def lines(logs: list[Any], event: str) -> list[dict[str, Any]]:
    return [dict(one) for one in logs if one["event"] == event]


@pytest.mark.usefixtures("inline_commits")
def test_order_that_is_sent_is_a_line_with_its_plan(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime
) -> None:
    factories.signal(feed, trade_plan_id="plan-7", order_type="LIMIT", open_price=D("1.09500"))
    with capture_logs() as logs:
        services.execute(factories.pending())
    (line,) = lines(logs, INITIATED)
    order = factories.order()
    assert {key: line[key] for key in ("order_id", "symbol", "side", "quantity", "price")} == {
        "order_id": order.pk, "symbol": "EURUSD", "side": "BUY", "quantity": "100",
        "price": "1.095",
    }  # fmt: skip
    assert (line["trade_plan_id"], line["risk_check_passed"]) == ("plan-7", True)


def test_filled_and_rejected_orders_are_lines_after_the_commit(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    factories.signal(feed)
    factories.signal(feed)
    first, second = factories.claim_all()
    with capture_logs() as logs, TestCase.captureOnCommitCallbacks(execute=True):
        factories.answer(first, broker.fill_at_once(first.request))
        factories.answer(second, Rejected(Code.NO_MONEY, "secret text of a broker"))
        assert not lines(logs, FILLED) + lines(logs, FAILED)
    (filled,), (failed,) = lines(logs, FILLED), lines(logs, FAILED)
    assert (filled["order_id"], filled["quantity"], filled["filled"]) == (
        first.request.order_id, "100", "100",
    )  # fmt: skip
    assert (failed["order_id"], failed["code"]) == (second.request.order_id, "NO_MONEY")
    assert (filled["log_level"], failed["log_level"]) == ("info", "warning")
    assert "secret" not in repr(logs)


def test_denied_order_is_a_line_that_states_the_code(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    factories.signal(feed, sl=None, target_prices=[D("1.0")], target_fractions=[D(1)])
    with capture_logs() as logs, TestCase.captureOnCommitCallbacks(execute=True):
        assert factories.claim_all() == []
    (line,) = lines(logs, FAILED)
    order = factories.order()
    assert (line["order_id"], line["status"], line["code"], line["risk_check_passed"]) == (
        order.pk, "DENIED", order.reason, False,
    )  # fmt: skip


def test_lines_beyond_the_budget_are_counted_in_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(order_lines, "_budget", LineBudget(lambda: now[0]))
    with capture_logs() as logs:
        order_lines.write_lines(FILLED, range(LINES_A_SECOND + 5), lambda n: {"order_id": n})
        order_lines.write_lines(FILLED, [0, 1], lambda n: {"order_id": n})
        now[0] = 101.0
        order_lines.write_lines(FAILED, [9, 10], lambda n: {"order_id": n})
    assert [one["order_id"] for one in logs] == [*range(LINES_A_SECOND), 9, 10]
    assert [one.get("lines_left_out_before") for one in logs[LINES_A_SECOND:]] == [7, None]
