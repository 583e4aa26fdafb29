"""Errors of the broker: time-outs, late executions, changed comments."""

from typing import Any

import pytest

from brokers.base import OutcomeUnknown, ReadFailed
from brokers.types import ReportKind
from common.reason_codes import Code
from tests.dwx.factories import Account, raises_outcome
from tests.dwx.waiting import wait_until_absent
from tests.until import until


@pytest.mark.parametrize(
    "error",
    ["trade timeout", "common error", "no connection with trade server", "ErrorCode: 142", "new"],
)
def test_ambiguous_errors_are_unknown(account: Account, error: str) -> None:
    account.terminal.fault(error=error)
    with raises_outcome(OutcomeUnknown, Code.REPLY_LOST) as caught:
        account.buy()
    assert error in caught[0].detail


def test_order_executed_late_after_time_out_is_found(account: Account) -> None:
    account.change_settings(settle_seconds=30)
    account.terminal.fault(error="trade timeout", late=1.5)
    request = account.order()
    with raises_outcome(OutcomeUnknown):
        account.submit(request)
    with raises_outcome(ReadFailed):  # not there yet, which proves nothing
        account.find(request.client_order_id)
    until(lambda: bool(account.positions()))
    [report] = account.find(request.client_order_id) or []
    assert report.kind is ReportKind.FILLED


def test_absence_is_not_confirmed_while_prices_do_not_change(account: Account) -> None:
    account.terminal.fault(error="trade timeout")
    request = account.order()
    with raises_outcome(OutcomeUnknown):
        account.submit(request)
    account.change_settings(settle_seconds=0.05)

    def why() -> str:
        with raises_outcome(ReadFailed) as caught:
            account.find(request.client_order_id)
        return str(caught[0].detail)

    until(lambda: "No price" in why())
    wait_until_absent(account, request.client_order_id)


@pytest.mark.parametrize("fault", [{"cut_comment": 7}, {"rewrite_comment": "MANAGED"}])
def test_order_is_found_although_broker_changes_its_comment(
    account: Account, fault: dict[str, Any]
) -> None:
    account.terminal.fault(**fault)
    request = account.order()
    [report] = account.submit(request)
    assert report.client_order_id == request.client_order_id
    account.restart()
    assert account.find(request.client_order_id) == [report]
    assert [one.client_order_id for one in account.positions()] == [request.client_order_id]
    assert account.find(account.order().client_order_id) is None
