"""What goes wrong between us and the server: three outcomes, and what a look-up says after each."""

from datetime import timedelta
from typing import Any

import pytest

from brokers.base import BrokerError, NotSent, OutcomeUnknown, Rejected
from brokers.mt5.adapter import Mt5Adapter
from brokers.types import (
    ReportKind,
    Side,
)
from common.reason_codes import Code
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import CID, EXIT, D, bought, kinds, order, outcome, submit

K = ReportKind
AGO = timedelta(hours=1)


@pytest.mark.parametrize(
    ("retcode", "kind", "code"),
    [
        (10004, Rejected, Code.REQUOTE),
        (10006, Rejected, Code.REJECTED_BY_BROKER),
        (10018, Rejected, Code.MARKET_CLOSED),
        (10019, Rejected, Code.NO_MONEY),
        (10029, Rejected, Code.LEVELS_FROZEN),
        (10024, NotSent, Code.NOT_CONNECTED),
        (10017, Rejected, Code.SYMBOL_TRADING_DISABLED),
        (10026, Rejected, Code.TRADING_DISABLED),
        (10042, Rejected, Code.SIDE_NOT_ALLOWED),
        (10043, Rejected, Code.SIDE_NOT_ALLOWED),
        (10044, Rejected, Code.SYMBOL_TRADING_DISABLED),
        (10027, NotSent, Code.TRADING_DISABLED),
        (10012, OutcomeUnknown, Code.REPLY_LOST),
        (10031, OutcomeUnknown, Code.REPLY_LOST),
        (10011, OutcomeUnknown, Code.REPLY_LOST),
        (10099, Rejected, Code.REJECTED_BY_BROKER),  # in no table, and no list has it
        (0, Rejected, Code.REJECTED_BY_BROKER),
        (10025, Rejected, Code.REJECTED_BY_BROKER),  # no changes: no answer to a new order
    ],
)
def test_retcode(
    venue: FakeTerminal, adapter: Mt5Adapter, retcode: int, kind: type[BrokerError], code: Code
) -> None:
    venue.fault("order_send", "retcode", code=retcode)
    error = outcome(adapter, order())
    assert (type(error), error.code) == (kind, code)
    assert str(retcode) in error.detail
    assert kinds(adapter) is None
    assert venue.accepted() == []


@pytest.mark.parametrize(
    ("do", "code"),
    [("retcode", 10012), ("retcode", 10031), *(("none", -10000 - n) for n in range(1, 6))],
)
@pytest.mark.parametrize("accepts", [True, False])
def test_lost_reply_is_unknown_and_resolved_by_lookup(
    venue: FakeTerminal, adapter: Mt5Adapter, do: str, code: int, accepts: bool
) -> None:
    venue.fault("order_send", do, code=code, accepts=accepts)
    assert type(outcome(adapter, order())) is OutcomeUnknown
    assert kinds(adapter) == ([K.FILLED] if accepts else None)
    assert venue.accepted() == ([CID] if accepts else [])


@pytest.mark.parametrize("accepts", [True, False])
def test_line_that_breaks_in_the_call(
    venue: FakeTerminal, adapter: Mt5Adapter, accepts: bool
) -> None:
    venue.fault("order_send", "drop", accepts=accepts)
    assert type(outcome(adapter, order())) is OutcomeUnknown
    assert kinds(adapter) == ([K.FILLED] if accepts else None)  # over a new line


def test_half_an_answer_is_unknown(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.fault("order_send", "half", accepts=True)
    error = outcome(adapter, order())
    assert (type(error), error.code) == (OutcomeUnknown, Code.UNEXPECTED)
    assert kinds(adapter) == [K.FILLED]


def test_empty_reply_is_unknown_and_kept(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.fault("order_send", "malformed", accepts=True)
    error = outcome(adapter, order())
    assert (type(error), error.code) == (OutcomeUnknown, Code.REPLY_LOST)
    assert "'retcode': '10009!'" in error.detail
    assert kinds(adapter) == [K.FILLED]


@pytest.mark.parametrize(("code", "ours"), [(-2, Code.UNEXPECTED), (-8, Code.TRADING_DISABLED)])
def test_refusal_by_the_package_is_not_sent(
    venue: FakeTerminal, adapter: Mt5Adapter, code: int, ours: Code
) -> None:
    venue.fault("order_send", "none", code=code)
    error = outcome(adapter, order())
    assert (type(error), error.code) == (NotSent, ours)


@pytest.mark.parametrize(
    ("values", "kind", "code"),
    [
        ({"market_closed": True}, Rejected, Code.MARKET_CLOSED),
        ({"algo_trading": False}, NotSent, Code.TRADING_DISABLED),
        ({"api_disabled": True}, NotSent, Code.TRADING_DISABLED),
        ({"connected": False}, NotSent, Code.NOT_CONNECTED),
    ],
)
def test_state_of_the_terminal(
    venue: FakeTerminal,
    adapter: Mt5Adapter,
    values: dict[str, Any],
    kind: type[BrokerError],
    code: Code,
) -> None:
    venue.configure(**values)
    error = outcome(adapter, order())
    assert (type(error), error.code) == (kind, code)
    assert venue.accepted() == []


def test_order_check_refuses_before_the_send(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    assert outcome(adapter, order(quantity=D(1_000_000))).code is Code.NO_MONEY
    stop = order(stop_loss=D("1.10005"))
    assert outcome(adapter, stop).code is Code.STOPS_INVALID
    assert "order_send" not in venue.state()["calls"]


def test_exits_are_sent_without_order_check(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    number = bought(adapter)
    venue.fault("order_check", "retcode", code=10019, times=9)
    exit_ = order(EXIT, side=Side.SELL, reduce_only=True, broker_position_id=number)
    assert submit(adapter, exit_)[0].kind is K.FILLED


def test_steps_are_read_again_after_a_refusal(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    bought(adapter)
    venue.configure_symbol("EURUSD", filling_mode=1)
    venue.fault("order_check", "none", code=-1, times=9)  # it cannot check: no reason against it
    other = order("fcxother0000000000")
    assert submit(adapter, other)[0].kind is K.FILLED
    assert venue.state()["sent"][-1]["type_filling"] == 0
