"""Whose terminal and whose account it is, and what a broken one answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed
from brokers.mt5.adapter import Mt5Adapter, create
from brokers.types import (
    CancelRequest,
    ReportKind,
)
from common.reason_codes import Code
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import CID, LIMIT, bought, order, outcome, run, spec, submit

K = ReportKind
AGO = timedelta(hours=1)


def test_accounts_take_turns(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    bought(adapter)
    assert run(adapter.positions(spec(1003))) == []
    assert len(run(adapter.positions(spec()))) == 1


def test_login_switched_during_a_read(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    bought(adapter)
    venue.fault("positions_get", "switch", login=1003)
    with pytest.raises(ReadFailed, match="another account"):
        run(adapter.positions(spec()))
    assert len(run(adapter.positions(spec()))) == 1


def test_login_switched_before_the_send(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    bought(adapter)
    venue.fault("symbol_info_tick", "switch", login=1003)
    assert type(outcome(adapter, order("fcxother0000000000"))) is NotSent
    assert venue.accepted(1003) == []


def test_login_switched_during_the_send(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.fault("order_send", "switch", login=1003)
    error = outcome(adapter, order())
    assert type(error) is OutcomeUnknown
    assert "another account" in error.detail


@pytest.mark.parametrize("broken", [{"connected": False}])
def test_reads_without_the_server_fail(
    venue: FakeTerminal, adapter: Mt5Adapter, broken: dict[str, Any]
) -> None:
    bought(adapter)
    venue.configure(**broken)
    for read in (adapter.positions, adapter.open_orders, adapter.account, adapter.instruments):
        with pytest.raises(ReadFailed):
            run(read(spec()))
    with pytest.raises(ReadFailed):
        run(adapter.fills_since(spec(), datetime.now(UTC)))


def test_wrong_password_concerns_one_login(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.configure_account(1003, password="changed")
    error = outcome(adapter, order(), login=1003)
    assert (type(error), error.code) == (NotSent, Code.CREDENTIALS_REFUSED)
    assert "secret" not in error.detail
    assert submit(adapter, order())[0].kind is K.FILLED


def test_account_of_another_worker_is_not_touched(
    venue: FakeTerminal, adapter: Mt5Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FILLCAST_MT5_TERMINAL", "alpha=c:\\MT5\\terminal64.exe")
    named = create()
    assert run(named.positions(spec(terminal="alpha"))) == []
    with pytest.raises(ReadFailed, match="worker of beta"):
        run(named.positions(spec(1003, terminal="beta")))
    assert "login" not in venue.state()["calls"]
    run(named.disconnect())


def test_terminal_of_another_worker_is_not_touched(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    venue.control("log_in", login=1003)
    venue.configure(path="C:\\mt5-other")
    error = outcome(adapter, order())
    assert type(error) is NotSent
    assert "C:\\mt5-other" in error.detail
    assert "login" not in venue.state()["calls"]


def test_login_reported_as_done_that_failed(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    run(adapter.positions(spec()))
    venue.fault("login", "none", code=1)
    with pytest.raises(ReadFailed):
        run(adapter.positions(spec(1003)))
    assert run(adapter.positions(spec(1003))) == []


def test_server_lost_while_we_read(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.fault("positions_get", "offline")
    with pytest.raises(ReadFailed, match="lost its server"):
        run(adapter.positions(spec()))


def test_answer_that_cannot_be_read(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    bought(adapter)
    (held,) = venue.state()["positions"]
    venue.configure_account(positions=[{**held, "price_open": "much"}])
    (read,) = run(adapter.positions(spec()))
    assert (read.broker_position_id, read.is_readable) == (str(held["identifier"]), False)


def test_position_in_a_symbol_that_is_not_listed(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    """Its size is not known, and without it the list would look complete."""
    bought(adapter)
    (held,) = venue.state()["positions"]
    venue.configure_account(positions=[held, {**held, "symbol": "GONE"}])
    read = run(adapter.positions(spec()))
    assert [(one.symbol, one.is_readable) for one in read] == [("EURUSD", True), ("GONE", False)]


def test_cancel_with_late_history_is_reported(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    submit(adapter, order(**LIMIT))
    venue.fault("history_orders_get", "empty")
    (report,) = run(adapter.cancel(spec(), CancelRequest(CID, "", "EURUSD")))
    assert report.kind is K.CANCELLED


def test_cancel_that_cannot_be_looked_up_is_retried(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    venue.fault("history_orders_get", "none", code=-10005)
    with pytest.raises(NotSent):
        run(adapter.cancel(spec(), CancelRequest(CID, "4711", "EURUSD")))


def test_terminal_that_hangs_is_left(venue: FakeTerminal, adapter: Mt5Adapter, hasty: None) -> None:
    venue.fault("positions_get", "hold")
    with pytest.raises(ReadFailed):
        run(adapter.positions(spec()))
    run(adapter.disconnect())  # ends
    assert run(adapter.positions(spec())) == []  # by another process


def test_disconnect_and_again(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    bought(adapter)
    run(adapter.disconnect())
    assert len(run(adapter.positions(spec()))) == 1
