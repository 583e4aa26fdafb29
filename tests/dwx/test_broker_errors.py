"""What the broker says and does not: time-outs, late executions, comments that it changes."""

from typing import Any

import pytest

from brokers.base import OutcomeUnknown, ReadFailed
from brokers.types import ReportKind
from common.reason_codes import Code
from tests.dwx.factories import Owner, raises_outcome
from tests.dwx.waiting import wait_until_absent
from tests.fakes.dwx.terminal import until


@pytest.mark.parametrize(
    "error",
    ["trade timeout", "common error", "no connection with trade server", "ErrorCode: 142", "new"],
)
def test_errors_that_do_not_say_no_are_unknown(owner: Owner, error: str) -> None:
    owner.terminal.fault(error=error)
    with raises_outcome(OutcomeUnknown, Code.REPLY_LOST) as caught:
        owner.buy()
    assert error in caught[0].detail


def test_a_time_out_that_was_executed_late_is_found(owner: Owner) -> None:
    owner.change_settings(settle_seconds=30)
    owner.terminal.fault(error="trade timeout", late=1.5)
    request = owner.order()
    with raises_outcome(OutcomeUnknown):
        owner.submit(request)
    with raises_outcome(ReadFailed):  # not yet there, and that proves nothing
        owner.find(request.client_order_id)
    until(lambda: bool(owner.positions()))
    [told] = owner.find(request.client_order_id) or []
    assert told.kind is ReportKind.FILLED


def test_absence_is_no_proof_while_no_price_moves(owner: Owner) -> None:
    owner.terminal.fault(error="trade timeout")
    request = owner.order()
    with raises_outcome(OutcomeUnknown):
        owner.submit(request)
    owner.change_settings(settle_seconds=0.05)
    for _ in range(2):
        with raises_outcome(ReadFailed) as caught:
            owner.find(request.client_order_id)
        if "No price" in caught[0].detail:
            break
    else:
        pytest.fail(caught[0].detail)
    wait_until_absent(owner, request.client_order_id)


@pytest.mark.parametrize("fault", [{"cut_comment": 7}, {"rewrite_comment": "MANAGED"}])
def test_comments_that_the_broker_changes(owner: Owner, fault: dict[str, Any]) -> None:
    owner.terminal.fault(**fault)
    request = owner.order()
    [told] = owner.submit(request)
    assert told.client_order_id == request.client_order_id
    owner.restart()
    assert owner.find(request.client_order_id) == [told]
    assert [one.client_order_id for one in owner.positions()] == [request.client_order_id]
    assert owner.find(owner.order().client_order_id) is None
