"""What goes wrong between us and the server: three outcomes, and what a look-up says after each."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from brokers.base import BrokerError, NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.messages import (
    CancelRequest,
    ModifyRequest,
    OrderRequest,
    ReportKind,
    Side,
)
from brokers.mt5.adapter import Mt5Adapter
from common.clocks import machine_time
from common.codes import Code
from tests.doubles.mt5.venue import ROOT, Venue
from tests.mt5.orders import CID, EXIT, LIMIT, D, bought, no_guard, order, run, spec, submit

K = ReportKind
AGO = timedelta(hours=1)


def outcome(adapter: Mt5Adapter, request: OrderRequest, **of: Any) -> BrokerError:
    with pytest.raises(BrokerError) as ended:
        submit(adapter, request, **of)
    return ended.value


def kinds(adapter: Mt5Adapter, client_order_id: str = CID) -> list[K] | None:
    found = run(adapter.find_order(spec(), client_order_id))
    return None if found is None else [report.kind for report in found]


@pytest.mark.parametrize(
    ("retcode", "kind", "code"),
    [
        (10004, Rejected, Code.REQUOTE),
        (10006, Rejected, Code.REJECTED_BY_BROKER),
        (10018, Rejected, Code.MARKET_CLOSED),
        (10019, Rejected, Code.NO_MONEY),
        (10030, Rejected, Code.ORDER_TYPE_UNSUPPORTED),
        (10024, NotSent, Code.NOT_CONNECTED),
        (10027, NotSent, Code.TRADING_DISABLED),
        (10012, OutcomeUnknown, Code.REPLY_LOST),
        (10031, OutcomeUnknown, Code.REPLY_LOST),
        (10011, OutcomeUnknown, Code.REPLY_LOST),
        (10099, OutcomeUnknown, Code.REPLY_LOST),  # tomorrow's
        (0, OutcomeUnknown, Code.REPLY_LOST),
        (10025, OutcomeUnknown, Code.REPLY_LOST),  # no changes: no answer to a new order
    ],
)
def test_retcode(
    venue: Venue, adapter: Mt5Adapter, retcode: int, kind: type[BrokerError], code: Code
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
def test_lost_answer_is_unknown_and_the_look_up_knows(
    venue: Venue, adapter: Mt5Adapter, do: str, code: int, accepts: bool
) -> None:
    venue.fault("order_send", do, code=code, accepts=accepts)
    assert type(outcome(adapter, order())) is OutcomeUnknown
    assert kinds(adapter) == ([K.FILLED] if accepts else None)
    assert venue.accepted() == ([CID] if accepts else [])


@pytest.mark.parametrize("accepts", [True, False])
def test_line_that_breaks_in_the_call(venue: Venue, adapter: Mt5Adapter, accepts: bool) -> None:
    venue.fault("order_send", "drop", accepts=accepts)
    assert type(outcome(adapter, order())) is OutcomeUnknown
    assert kinds(adapter) == ([K.FILLED] if accepts else None)  # over a new line


def test_half_an_answer_is_unknown(venue: Venue, adapter: Mt5Adapter) -> None:
    venue.fault("order_send", "half", accepts=True)
    error = outcome(adapter, order())
    assert (type(error), error.code) == (OutcomeUnknown, Code.UNEXPECTED)
    assert kinds(adapter) == [K.FILLED]


@pytest.mark.parametrize(("code", "ours"), [(-2, Code.UNEXPECTED), (-8, Code.TRADING_DISABLED)])
def test_package_that_refuses_by_itself_sent_nothing(
    venue: Venue, adapter: Mt5Adapter, code: int, ours: Code
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
    venue: Venue, adapter: Mt5Adapter, values: dict[str, Any], kind: type[BrokerError], code: Code
) -> None:
    venue.world(**values)
    error = outcome(adapter, order())
    assert (type(error), error.code) == (kind, code)
    assert venue.accepted() == []


def test_order_check_refuses_before_anything_leaves(venue: Venue, adapter: Mt5Adapter) -> None:
    assert outcome(adapter, order(quantity=D(1_000_000))).code is Code.NO_MONEY
    stop = order(stop_loss=D("1.10005"))
    assert outcome(adapter, stop).code is Code.STOPS_INVALID
    assert "order_send" not in venue.show()["calls"]


def test_exits_leave_without_a_check(venue: Venue, adapter: Mt5Adapter) -> None:
    number = bought(adapter)
    venue.fault("order_check", "retcode", code=10019, times=9)
    exit_ = order(EXIT, side=Side.SELL, reduce_only=True, broker_position_id=number)
    assert submit(adapter, exit_)[0].kind is K.FILLED


def test_steps_are_read_anew_after_a_refusal(venue: Venue, adapter: Mt5Adapter) -> None:
    bought(adapter)
    venue.symbol("EURUSD", filling_mode=1)
    venue.fault("order_check", "none", code=-1, times=9)  # it cannot check: no reason against it
    other = order("fcxother0000000000")
    assert outcome(adapter, other).code is Code.ORDER_TYPE_UNSUPPORTED
    assert submit(adapter, other)[0].kind is K.FILLED


# ---- time --------------------------------------------------------------------------------------
def test_guard_is_the_last_thing_before_the_send(venue: Venue, adapter: Mt5Adapter) -> None:
    seen: list[list[str]] = []

    def guard(_: OrderRequest) -> None:
        seen.append(venue.show()["calls"])

    run(adapter.submit(spec(), order(), guard))
    (before,) = seen
    assert venue.show()["calls"][len(before)] == "order_send"


def test_guard_and_deadlines_stop_what_would_leave(venue: Venue, adapter: Mt5Adapter) -> None:
    def guard(_: OrderRequest) -> None:
        raise NotSent(Code.KILL_SWITCH)

    with pytest.raises(NotSent):
        run(adapter.submit(spec(), order(), guard))
    submit(adapter, order(**LIMIT))
    late = machine_time() - 1
    with pytest.raises(NotSent):
        run(adapter.cancel(spec(), CancelRequest(CID, "", "EURUSD", send_by=late)))
    with pytest.raises(NotSent):
        run(adapter.modify(spec(), ModifyRequest(CID, "", "EURUSD", None, None, send_by=late)))
    assert [r["action"] for r in venue.show()["accepted"]] == [5]


@pytest.mark.parametrize("accepts", [True, False])
def test_call_that_hangs_is_unknown_and_holds_up_the_next_ones_not_for_ever(
    venue: Venue, adapter: Mt5Adapter, accepts: bool
) -> None:
    venue.fault("order_send", "hold", accepts=accepts)
    error = outcome(adapter, order(), reply_timeout=1)
    assert type(error) is OutcomeUnknown
    other = order("fcxother0000000000")
    error = outcome(adapter, other, reply_timeout=0.2)
    assert (type(error), error.code) == (NotSent, Code.NOT_CONNECTED)
    venue.hand("release")
    assert kinds(adapter) == [K.FILLED]  # the server took it whenever it was let go
    assert kinds(adapter, "fcxother0000000000") is None
    assert venue.accepted() == [CID]


def test_order_that_waits_for_its_turn_too_long_never_leaves(
    venue: Venue, adapter: Mt5Adapter
) -> None:
    venue.fault("positions_get", "hold")

    async def all_at_once() -> BaseException | None:
        reading = asyncio.create_task(adapter.positions(spec()))
        await asyncio.to_thread(venue.hand, "wait_held")
        ended = await asyncio.gather(
            adapter.submit(spec(reply_timeout=0.3), order(), no_guard), return_exceptions=True
        )
        venue.hand("release")
        assert await reading == []
        assert await adapter.find_order(spec(), CID) is None  # the thread is past its turn
        return ended[0] if isinstance(ended[0], BaseException) else None

    assert type(run(all_at_once())) is NotSent
    assert venue.accepted() == []


def test_order_given_up_before_the_send_never_leaves(venue: Venue, adapter: Mt5Adapter) -> None:
    """Its time is over while the terminal is still being asked for the price."""
    venue.fault("symbol_info_tick", "hold")
    error = outcome(adapter, order(), reply_timeout=0.5)
    assert type(error) is NotSent
    venue.hand("release")
    assert kinds(adapter) is None
    assert venue.accepted() == []


def test_order_whose_caller_is_cancelled_before_the_send_never_leaves(
    venue: Venue, adapter: Mt5Adapter
) -> None:
    venue.fault("symbol_info_tick", "hold")

    async def cancelled() -> None:
        sending = asyncio.create_task(adapter.submit(spec(), order(), no_guard))
        await asyncio.to_thread(venue.hand, "wait_held")
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        venue.hand("release")
        assert await adapter.find_order(spec(), CID) is None

    run(cancelled())
    assert venue.accepted() == []


def test_calls_of_many_tasks_never_overlap(venue: Venue, adapter: Mt5Adapter) -> None:
    """The package notes an overlap; the fixture looks at it."""

    async def many() -> None:
        ids = [f"fcxmany{n:010d}0" for n in range(20)]
        sends = [adapter.submit(spec(), order(one), no_guard) for one in ids]
        await asyncio.gather(*sends, *(adapter.positions(spec()) for _ in ids))

    run(many())
    assert len(set(venue.accepted())) == 20


# ---- death -------------------------------------------------------------------------------------
@pytest.mark.parametrize("accepts", [True, False])
def test_killed_in_the_send_and_asked_by_the_next_process(
    venue: Venue, adapter: Mt5Adapter, accepts: bool
) -> None:
    venue.fault("order_send", "die", accepts=accepts)
    program = (
        "import asyncio; from brokers.mt5.adapter import create;"
        " from tests.mt5.orders import spec, order, no_guard;"
        " asyncio.run(create().submit(spec(), order(), no_guard))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=venue.environment(), timeout=60, check=False
    )
    assert ended.returncode == 9
    assert kinds(adapter) == ([K.FILLED] if accepts else None)
    assert venue.accepted() == ([CID] if accepts else [])


# ---- look-ups ----------------------------------------------------------------------------------
@pytest.mark.parametrize("call", ["orders_get", "history_orders_get", "positions_get"])
@pytest.mark.parametrize("do", ["none", "drop"])
def test_absence_is_not_told_after_a_failed_read(
    venue: Venue, adapter: Mt5Adapter, call: str, do: str
) -> None:
    venue.fault(call, do, code=-10005)
    with pytest.raises(ReadFailed):
        run(adapter.find_order(spec(), CID))
    assert kinds(adapter) is None


def test_none_without_an_error_is_believed_only_with_a_count(
    venue: Venue, adapter: Mt5Adapter
) -> None:
    venue.fault("positions_get", "none", code=1)
    assert run(adapter.positions(spec())) == []
    bought(adapter)
    venue.fault("positions_get", "none", code=1)
    with pytest.raises(ReadFailed):
        run(adapter.positions(spec()))


def test_absence_needs_time_after_a_login_and_after_the_send(
    venue: Venue, adapter: Mt5Adapter
) -> None:
    slow = spec(settle_seconds=3600)
    with pytest.raises(ReadFailed, match="too soon"):
        run(adapter.find_order(slow, CID))


def test_order_seen_by_its_deal_only_is_not_absent(venue: Venue, adapter: Mt5Adapter) -> None:
    bought(adapter)
    venue.fault("history_orders_get", "empty")
    with pytest.raises(ReadFailed, match="its deal"):
        run(adapter.find_order(spec(), CID))


def test_order_not_taken_yet_is_not_told(venue: Venue, adapter: Mt5Adapter) -> None:
    submit(adapter, order(**LIMIT))
    rows = venue.show()["orders"]
    venue.books(orders=[{**rows[0], "state": 0}])
    with pytest.raises(ReadFailed, match="not taken it yet"):
        run(adapter.find_order(spec(), CID))


def test_deal_that_comes_late(venue: Venue, adapter: Mt5Adapter) -> None:
    venue.hand("late", login=1001, hides=True)
    (report,) = submit(adapter, order())
    assert report.kind is K.ACCEPTED
    assert kinds(adapter) == [K.ACCEPTED]
    assert run(adapter.fills_since(spec(), datetime.now(UTC) - AGO)) == []
    venue.hand("late", login=1001, hides=False)
    assert kinds(adapter) == [K.FILLED]
    later = datetime.now(UTC) + timedelta(minutes=20)  # asked from a time that is past it
    assert [r.client_order_id for r in run(adapter.fills_since(spec(), later))] == [CID]


def test_replayed_executions_have_the_same_ids(venue: Venue, adapter: Mt5Adapter) -> None:
    (report,) = submit(adapter, order())
    for _ in range(2):
        (again,) = run(adapter.fills_since(spec(), datetime.now(UTC) - AGO))
        assert again.fills == report.fills


def test_history_that_cannot_be_read_after_the_send_is_no_failure(
    venue: Venue, adapter: Mt5Adapter
) -> None:
    venue.fault("history_orders_get", "none", code=-10005)
    (report,) = submit(adapter, order())
    assert report.kind is K.ACCEPTED
    assert report.broker_order_id


@pytest.mark.parametrize(("cut", "text"), [(10, ""), (0, "from dealer"), (31, "")])
def test_comment_cut_or_rewritten(venue: Venue, adapter: Mt5Adapter, cut: int, text: str) -> None:
    venue.hand("comments", login=1001, cut=cut, text=text)
    number = bought(adapter)
    assert run(adapter.positions(spec()))[0].client_order_id == CID
    told = run(adapter.fills_since(spec(), datetime.now(UTC) - AGO))
    assert [(r.client_order_id, r.broker_position_id) for r in told] == [(CID, number)]


def test_rewritten_comment_after_a_restart(venue: Venue, adapter: Mt5Adapter) -> None:
    """Another process knows the order by its id, tells no wrong name, and takes it for nobody's."""
    venue.hand("comments", login=1001, cut=0, text="from dealer")
    bought(adapter)
    fresh = Mt5Adapter(adapter._terminal.mt, adapter._terminal._place)
    assert run(fresh.fills_since(spec(), datetime.now(UTC) - AGO)) == []
    assert [p.client_order_id for p in run(fresh.positions(spec()))] == [""]
    found = run(fresh.find_order(spec(), CID))
    assert found is not None
    assert [r.kind for r in found] == [K.FILLED]
    assert run(fresh.find_order(spec(), "fcxneverneverneve0")) is None


def test_magic_number_taken_away(venue: Venue, adapter: Mt5Adapter) -> None:
    bought(adapter)
    shown = venue.show()
    venue.books(
        history=[{**one, "magic": 0} for one in shown["history"]],
        deals=[{**one, "magic": 0} for one in shown["deals"]],
    )
    assert kinds(adapter) == [K.FILLED]
    told = run(adapter.fills_since(spec(), datetime.now(UTC) - AGO))
    assert [(r.client_order_id, r.close_cause) for r in told] == [(CID, None)]


def test_two_orders_under_one_id_are_both_told(venue: Venue, adapter: Mt5Adapter) -> None:
    bought(adapter)
    bought(adapter)
    assert kinds(adapter) == [K.FILLED, K.FILLED]


# ---- accounts ----------------------------------------------------------------------------------
def test_accounts_take_turns(venue: Venue, adapter: Mt5Adapter) -> None:
    bought(adapter)
    assert run(adapter.positions(spec(1003))) == []
    assert len(run(adapter.positions(spec()))) == 1


def test_somebody_logs_in_as_another_while_we_read(venue: Venue, adapter: Mt5Adapter) -> None:
    bought(adapter)
    venue.fault("positions_get", "switch", login=1003)
    with pytest.raises(ReadFailed, match="somebody else"):
        run(adapter.positions(spec()))
    assert len(run(adapter.positions(spec()))) == 1


def test_somebody_logs_in_as_another_before_the_send(venue: Venue, adapter: Mt5Adapter) -> None:
    bought(adapter)
    venue.fault("symbol_info_tick", "switch", login=1003)
    assert type(outcome(adapter, order("fcxother0000000000"))) is NotSent
    assert venue.accepted(1003) == []


def test_somebody_logs_in_as_another_in_the_send(venue: Venue, adapter: Mt5Adapter) -> None:
    venue.fault("order_send", "switch", login=1003)
    error = outcome(adapter, order())
    assert type(error) is OutcomeUnknown
    assert "somebody else" in error.detail


@pytest.mark.parametrize("broken", [{"connected": False}])
def test_reads_without_the_server_fail(
    venue: Venue, adapter: Mt5Adapter, broken: dict[str, Any]
) -> None:
    bought(adapter)
    venue.world(**broken)
    for read in (adapter.positions, adapter.open_orders, adapter.account, adapter.instruments):
        with pytest.raises(ReadFailed):
            run(read(spec()))
    with pytest.raises(ReadFailed):
        run(adapter.fills_since(spec(), datetime.now(UTC)))


def test_wrong_password_concerns_one_login(venue: Venue, adapter: Mt5Adapter) -> None:
    venue.books(1003, password="changed")
    error = outcome(adapter, order(), login=1003)
    assert (type(error), error.code) == (NotSent, Code.CREDENTIALS_REFUSED)
    assert "secret" not in error.detail
    assert submit(adapter, order())[0].kind is K.FILLED


def test_another_workers_terminal_is_left_alone(venue: Venue, adapter: Mt5Adapter) -> None:
    venue.hand("log", login=1003)
    venue.world(path="C:\\mt5-other")
    error = outcome(adapter, order())
    assert type(error) is NotSent
    assert "C:\\mt5-other" in error.detail
    assert "login" not in venue.show()["calls"]


def test_login_that_is_told_as_done_and_is_not(venue: Venue, adapter: Mt5Adapter) -> None:
    run(adapter.positions(spec()))
    venue.fault("login", "none", code=1)
    with pytest.raises(ReadFailed):
        run(adapter.positions(spec(1003)))
    assert run(adapter.positions(spec(1003))) == []


def test_server_lost_while_we_read(venue: Venue, adapter: Mt5Adapter) -> None:
    venue.fault("positions_get", "offline")
    with pytest.raises(ReadFailed, match="lost its server"):
        run(adapter.positions(spec()))


def test_answer_that_cannot_be_read(venue: Venue, adapter: Mt5Adapter) -> None:
    bought(adapter)
    (held,) = venue.show()["positions"]
    venue.books(positions=[{**held, "volume": "much"}])
    with pytest.raises(ReadFailed) as failed:
        run(adapter.positions(spec()))
    assert failed.value.code is Code.UNEXPECTED


def test_position_in_a_symbol_that_is_not_listed(venue: Venue, adapter: Mt5Adapter) -> None:
    """Its size cannot be told, so nothing is: a part would look like the whole."""
    bought(adapter)
    (held,) = venue.show()["positions"]
    venue.books(positions=[held, {**held, "symbol": "GONE"}])
    with pytest.raises(ReadFailed, match="GONE"):
        run(adapter.positions(spec()))


def test_cancel_whose_history_comes_late_is_told(venue: Venue, adapter: Mt5Adapter) -> None:
    submit(adapter, order(**LIMIT))
    venue.fault("history_orders_get", "empty")
    (told,) = run(adapter.cancel(spec(), CancelRequest(CID, "", "EURUSD")))
    assert told.kind is K.CANCELLED


def test_cancel_of_what_nobody_can_look_up_is_asked_again(
    venue: Venue, adapter: Mt5Adapter
) -> None:
    venue.fault("history_orders_get", "none", code=-10005)
    with pytest.raises(NotSent):
        run(adapter.cancel(spec(), CancelRequest(CID, "4711", "EURUSD")))


def test_terminal_that_hangs_is_left(
    venue: Venue, adapter: Mt5Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokers.mt5.adapter.READ_SECONDS", 0.2)
    venue.fault("positions_get", "hold")
    with pytest.raises(ReadFailed):
        run(adapter.positions(spec()))
    run(adapter.disconnect())  # ends
    with pytest.raises(ReadFailed, match="earlier call"):
        run(adapter.account(spec()))


def test_disconnect_and_again(venue: Venue, adapter: Mt5Adapter) -> None:
    bought(adapter)
    run(adapter.disconnect())
    assert len(run(adapter.positions(spec()))) == 1
