"""A retcode in no table proves nothing: the terminal's lists decide, and at once."""

import pytest

from brokers.base import OutcomeUnknown, Rejected
from brokers.mt5.adapter import Mt5Adapter
from brokers.types import ReportKind, Side
from common.reason_codes import Code
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import EXIT, D, bought, order, outcome, run, spec, submit

UNLISTED, NETTING = (0, 10047, 10999), 1002
SENT = "order_send"


@pytest.mark.parametrize("retcode", UNLISTED)
def test_order_that_the_terminal_lists_was_accepted(
    venue: FakeTerminal, adapter: Mt5Adapter, retcode: int
) -> None:
    venue.fault(SENT, "retcode", code=retcode, accepts=True)
    assert {one.kind for one in submit(adapter, order())} == {ReportKind.FILLED}


@pytest.mark.parametrize("retcode", UNLISTED)
def test_order_that_no_list_has_was_refused_with_the_number(
    venue: FakeTerminal, adapter: Mt5Adapter, retcode: int
) -> None:
    venue.fault(SENT, "retcode", code=retcode)
    refused = outcome(adapter, order())
    assert (type(refused), refused.code) == (Rejected, Code.REJECTED_BY_BROKER)
    assert refused.detail == f"{retcode} no"


def test_order_is_unknown_until_the_terminal_would_list_it(
    venue: FakeTerminal, adapter: Mt5Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokers.unlisted_refusals.FIRST_PAUSES", (0.0,))
    venue.fault(SENT, "retcode", code=10999)
    unknown = outcome(adapter, order(), settle_seconds=60)
    assert isinstance(unknown, OutcomeUnknown)
    assert unknown.detail == "10999 no"


def test_code_of_a_time_out_is_left_to_the_look_ups(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    venue.fault(SENT, "retcode", code=10012)
    assert type(outcome(adapter, order())) is OutcomeUnknown


def test_exit_of_a_netting_account_is_not_repeated_early(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """It has no ticket: a second one could open the other side."""
    run(adapter.connect(spec(NETTING)))
    (entry,) = submit(adapter, order(), login=NETTING)
    close = order(EXIT, side=Side.SELL, reduce_only=True, quantity=D(10_000))
    venue.fault(SENT, "retcode", code=10999)
    assert isinstance(outcome(adapter, close, login=NETTING), OutcomeUnknown)
    assert entry.broker_position_id


def test_exit_by_ticket_is_refused_at_once(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    ticket = bought(adapter)
    venue.fault(SENT, "retcode", code=10999)
    close = order(EXIT, side=Side.SELL, reduce_only=True, broker_position_id=ticket)
    assert isinstance(outcome(adapter, close), Rejected)
