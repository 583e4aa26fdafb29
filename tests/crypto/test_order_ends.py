"""Orders that an exchange accepts and ends without a request: with its reason, and with what was
executed until then, however late that is listed."""

from typing import Any

import pytest

from brokers.types import ReportKind
from common.reason_codes import Code
from tests.crypto.factories import D, ExchangeAccount, account, close, open_account

__all__ = ["account"]

REASONS: list[Any] = [
    ("bybit", True, "REJECTED", {"rejectReason": "EC_PostOnlyWillTakeLiquidity"},
     ReportKind.REJECTED, Code.REJECTED_BY_BROKER, "EC_PostOnlyWillTakeLiquidity"),
    ("bybit", False, "CANCELED", {"cancelType": "CancelBySmp"},
     ReportKind.CANCELLED, Code.REJECTED_BY_BROKER, "CancelBySmp"),
    ("bybit", True, "CANCELED", {"cancelType": "CancelByCannotAffordOrderCost"},
     ReportKind.CANCELLED, Code.NO_MONEY, "CancelByCannotAffordOrderCost"),
    ("okx", True, "CANCELED", {"cancelSource": "32", "cancelSourceReason": ""},
     ReportKind.CANCELLED, Code.REJECTED_BY_BROKER, "32"),
    ("okx", False, "CANCELED", {"cancelSource": "20", "cancelSourceReason": "Cancel all after"},
     ReportKind.CANCELLED, None, "Cancel all after"),
    ("kraken", False, "CANCELED", {"reason": "Insufficient margin"},
     ReportKind.CANCELLED, Code.NO_MONEY, "Insufficient margin"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "swap", "status", "why", "kind", "code", "detail"), REASONS)
def test_exchanges_own_reason_is_reported(
    name: str, swap: bool, status: str, why: dict[str, str], kind: ReportKind,
    code: Code | None, detail: str,
) -> None:  # fmt: skip
    account = open_account(name, swap=swap)
    request = account.order(limit_price=D(40000))
    account.submit(request)
    order = account.venue.orders[-1]
    order.status, order.why = status, why
    *_, ended = account.find(request.client_order_id) or []
    assert (ended.kind, ended.code) == (kind, code)
    assert detail in ended.detail
    close(account)


@pytest.mark.parametrize("average", ["", "0", "0.0"])
def test_cancelled_order_ends_when_its_executions_are_known(
    average: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then neither its fill nor its end is made up."""
    account = open_account("okx", swap=True)
    request = account.order(limit_price=D(50000), quantity=D("0.5"))
    account.submit(account.order(limit_price=D(40000)))
    account.submit(request)
    order = account.venue.orders[-1]
    order.status, order.filled, order.why = "CANCELED", D(20), {"avgPx": average}
    order.cost = D(20) * D(50000)
    with monkeypatch.context() as late:
        late.setattr(account.venue, "find_trades", lambda *_, **__: [])
        found = account.find(request.client_order_id) or []
        assert [one.kind for one in found] == [ReportKind.ACCEPTED]
    account.venue.trades[-1].amount = D(20)
    found = account.find(request.client_order_id) or []
    assert [one.kind for one in found] == [ReportKind.FILLED, ReportKind.CANCELLED]
    assert [(fill.quantity, fill.price) for fill in found[0].fills] == [(D("0.2"), D(50000))]
    close(account)


def test_order_in_a_state_that_ccxt_does_not_know_is_neither_ended_nor_absent(
    account: ExchangeAccount,
) -> None:
    request = account.order(limit_price=D(40000))
    account.submit(request)
    name = {"bybit": "orderStatus", "okx": "state"}.get(account.spec.exchange_name, "status")
    account.venue.orders[-1].why = {name: "held_for_review"}
    found = account.find(request.client_order_id) or []
    assert [one.kind for one in found] == [ReportKind.ACCEPTED]
    assert [one.kind for one in account.cancel(request)] == [ReportKind.ACCEPTED]
