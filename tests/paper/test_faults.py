"""Network and injected faults: which orders arrive and which outcomes are reported."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import connection, connections

from brokers.base import BrokerError, NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.paper.db_sessions import sessions
from brokers.types import CancelRequest, OrderReport, OrderRequest, ReportKind, Side
from common.clocks import machine_time
from common.reason_codes import Code
from tests.paper.conftest import IN_PROCESS_ONLY, Trader


class Guard:
    """Allows `passes` calls, then raises NotSent. Counts the calls."""

    def __init__(self, passes: int = 1_000, code: Code = Code.SEND_DEADLINE) -> None:
        self.passes, self.calls, self.code = passes, 0, code
        self.asked = asyncio.Event()

    def __call__(self, request: OrderRequest) -> None:
        self.calls += 1
        if self.calls == 1:
            self.asked.set()
        if self.calls > self.passes:
            raise NotSent(self.code)


def test_injected_rejection_has_its_code(trader: Trader) -> None:
    trader.set(reject_code=Code.REQUOTE)
    with pytest.raises(Rejected) as caught:
        trader.buy("1000")
    assert caught.value.code is Code.REQUOTE
    assert trader.positions() == []


def test_injected_rejection_with_unknown_code_is_generic(trader: Trader) -> None:
    trader.set(reject_code="UNLISTED")
    with pytest.raises(Rejected) as caught:
        trader.buy("1000")
    assert caught.value.code is Code.REJECTED_BY_BROKER
    assert "UNLISTED" in caught.value.detail


def test_unreachable_account_is_not_sent(trader: Trader) -> None:
    [entry] = trader.buy("1000")
    trader.set(unreachable=True)
    with pytest.raises(NotSent) as caught:
        trader.buy("1000")
    assert caught.value.code is Code.NOT_CONNECTED
    with pytest.raises(NotSent):
        trader.cancel(entry)
    for read in (trader.positions, trader.state, lambda: trader.find("x")):
        with pytest.raises(ReadFailed):
            read()
    assert len(trader.journal()) == 1


def test_request_lost_on_its_way_is_unknown_and_absent(trader: Trader) -> None:
    trader.set(silent_before=True)
    with pytest.raises(OutcomeUnknown) as caught:
        trader.submit(
            trader.request(Side.BUY, "1000", client_order_id="lost"), **trader.short_timeout
        )
    assert caught.value.code is Code.REPLY_LOST
    assert trader.find("lost") is None


def test_lost_reply_is_unknown_and_order_is_found(trader: Trader) -> None:
    trader.set(silent_after=True)
    with pytest.raises(OutcomeUnknown):
        trader.submit(
            trader.request(Side.BUY, "1000", client_order_id="mute"), **trader.short_timeout
        )
    [report] = trader.find("mute") or []
    assert (report.kind, report.fills[0].quantity) == (ReportKind.FILLED, D(1000))
    assert len(trader.positions()) == 1


def test_every_nth_reply_is_lost(trader: Trader) -> None:
    trader.set(drop_every_nth=3)
    outcomes = []
    for _ in range(7):
        try:
            trader.submit(trader.request(Side.BUY, "1000"), **trader.short_timeout)
            outcomes.append("reply")
        except OutcomeUnknown:
            outcomes.append("lost")
    assert outcomes == ["reply", "reply", "lost", "reply", "reply", "lost", "reply"]
    assert len(trader.positions()) == 7


def test_missing_reply_delays_only_its_own_order(trader: Trader) -> None:
    """In one call, healthy orders are reported at once, the others when their wait ends."""
    trader.account("mute", silent_after=True)
    trader.account("slow", reply_delay_ms=60_000)
    outcomes: dict[str, object] = {}

    async def work() -> None:
        first_outcome = asyncio.Event()

        def on_outcome(request: OrderRequest, outcome: object) -> None:
            outcomes[request.account] = outcome
            first_outcome.set()

        requests = [trader.request(Side.BUY, "1000", n) for n in ("mute", "A1", "slow")]
        call = asyncio.create_task(
            trader.adapter.submit_many(
                [(trader.spec(r.account), r) for r in requests], trader.guard, on_outcome
            )
        )
        async with asyncio.timeout(120):
            await first_outcome.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    asyncio.run(work())
    assert set(outcomes) == {"A1"}
    assert len(trader.positions("mute")) == len(trader.positions("slow")) == 1


def test_sent_order_arrives_after_its_sender_gave_up(trader: Trader) -> None:
    trader.set(latency_ms=500)  # long enough to give up within it, on a busy machine too
    outcomes: list[object] = []

    async def work() -> None:
        guard = Guard()
        call = asyncio.create_task(
            trader.adapter.submit_many(
                [(trader.spec(), trader.request(Side.BUY, "1000", client_order_id="gone"))],
                guard,
                lambda _, outcome: outcomes.append(outcome),
            )
        )
        await guard.asked.wait()  # it was sent
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert guard.calls == 1  # and has not arrived
        async with asyncio.timeout(120):
            while await trader.adapter.find_order(trader.spec(), "gone") is None:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    asyncio.run(work())
    assert outcomes == []
    assert [p.quantity for p in trader.positions()] == [D(1000)]


def test_order_refused_by_guard_is_not_sent(trader: Trader) -> None:
    trader.guard = Guard(passes=0)
    with pytest.raises(NotSent) as caught:
        trader.buy("1000")
    assert caught.value.code is Code.SEND_DEADLINE
    assert trader.journal() == []


@IN_PROCESS_ONLY
def test_order_past_its_deadline_on_arrival_is_lost(trader: Trader) -> None:
    """The guard allows it before sending and refuses it on arrival: no row, no answer."""
    trader.guard = guard = Guard(passes=1)
    with pytest.raises(OutcomeUnknown):
        trader.submit(trader.request(Side.BUY, "1000"), **trader.short_timeout)
    assert guard.calls == 2
    assert trader.journal() == []


@IN_PROCESS_ONLY
def test_order_that_is_halted_on_its_way_is_not_sent(trader: Trader) -> None:
    """The halt is seen between the send and the arrival. The order is not placed, which is known at
    once: it needs no look-up."""
    trader.guard = guard = Guard(passes=1, code=Code.KILL_SWITCH)
    with pytest.raises(NotSent) as caught:
        trader.buy("1000")
    assert (caught.value.code, guard.calls) == (Code.KILL_SWITCH, 2)
    assert trader.journal() == []


def test_guard_decides_for_each_order_separately(trader: Trader) -> None:
    trader.account("A2")
    outcomes: dict[str, Any] = {}

    def guard(request: OrderRequest) -> None:
        if request.account == "A2":
            raise NotSent(Code.KILL_SWITCH)

    requests = [trader.request(Side.BUY, "1000", n) for n in ("A1", "A2")]
    trader.run(
        trader.adapter.submit_many(
            [(trader.spec(r.account), r) for r in requests],
            guard,
            lambda request, outcome: outcomes.update({request.account: outcome}),
        )
    )
    assert outcomes["A1"][0].kind is ReportKind.FILLED
    assert isinstance(outcomes["A2"], NotSent)


def test_order_executes_at_price_on_arrival(trader: Trader) -> None:
    """The price on arrival counts, not the one when it was sent."""
    trader.set(latency_ms=100)

    async def work() -> list[OrderReport]:
        guard = Guard()
        request = trader.request(Side.BUY, "1000")
        call = asyncio.create_task(trader.adapter.submit(trader.spec(), request, guard))
        await guard.asked.wait()
        await asyncio.to_thread(trader.price, "1.20000")
        return await call

    [report] = asyncio.run(work())
    assert report.fills[0].price == D("1.20002")


@contextmanager
def database_unreachable() -> Iterator[None]:
    """Point the broker's sessions at a port without a server."""
    sessions.close()
    settings = connections.settings["default"]
    port, settings["PORT"] = settings["PORT"], "1"
    yield
    settings["PORT"] = port


def test_order_without_database_is_not_sent(trader: Trader) -> None:
    with database_unreachable():
        with pytest.raises(NotSent) as caught:
            trader.buy("1000")
        with pytest.raises(ReadFailed):
            trader.positions()
    assert caught.value.code is Code.NOT_CONNECTED
    assert trader.buy("1000")[0].kind is ReportKind.FILLED


def test_terminated_database_session_is_replaced(trader: Trader) -> None:
    trader.buy("1000")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'fillcast-paper-broker' AND datname = current_database()"
        )
        assert cursor.fetchall()
    outcomes: list[str] = []
    for _ in range(8):  # more than there are sessions
        try:
            outcomes.append(trader.buy("1000")[0].kind)
        except BrokerError as error:
            outcomes.append(type(error).__name__)
    assert outcomes[-1] == ReportKind.FILLED
    assert set(outcomes) <= {"NotSent", "OutcomeUnknown", ReportKind.FILLED}


@pytest.mark.parametrize("knob", ["silent_before", "silent_after"])
def test_lost_cancel_is_unknown_and_may_be_repeated(trader: Trader, knob: str) -> None:
    [resting] = trader.buy("1000", limit_price="1.05000")
    faulty: dict[str, Any] = {knob: True}
    trader.set(**faulty)
    request = CancelRequest(resting.client_order_id, resting.broker_order_id, "EURUSD")
    with pytest.raises(OutcomeUnknown):
        trader.run(trader.adapter.cancel(trader.spec(**trader.short_timeout), request))
    assert trader.journal()[0].status == ("WORKING" if knob == "silent_before" else "CANCELLED")
    faulty[knob] = False
    trader.set(**faulty)
    assert [r.kind for r in trader.cancel(resting)] == [ReportKind.CANCELLED]


@IN_PROCESS_ONLY
def test_stalled_process_places_no_order_after_its_deadline(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped inside the book's transaction for longer than its lock lasts, then continued."""
    readings = iter([0.0, 5.0, 5.0, 5.1])  # start, check, retry until the deadline
    monkeypatch.setattr("brokers.paper.order_intake.machine_time", lambda: next(readings))
    trader.guard = guard = Guard(passes=2)  # on sending, on arrival; then the deadline has passed
    with pytest.raises(OutcomeUnknown):
        trader.submit(trader.request(Side.BUY, "1000"), **trader.short_timeout)
    assert guard.calls == 3
    assert trader.journal() == []


def test_cancel_and_level_change_past_their_deadline_are_not_sent(trader: Trader) -> None:
    [resting] = trader.buy("1000", limit_price="1.05000")
    [filled] = trader.buy("1000", stop_loss="1.09000")
    with pytest.raises(NotSent) as cancel:
        trader.cancel(resting, send_by=machine_time() - 1)
    with pytest.raises(NotSent) as stop:
        trader.modify(filled, "1.09500", None, send_by=machine_time() - 1)
    assert {cancel.value.code, stop.value.code} == {Code.SEND_DEADLINE}
    assert trader.journal()[0].status == "WORKING"
    assert [lot.stop_loss for lot in trader.positions()] == [D("1.09000")]
    assert trader.cancel(resting, send_by=machine_time() + 90)[0].kind is ReportKind.CANCELLED
    assert trader.modify(filled, "1.09500", None, send_by=machine_time() + 90)


@IN_PROCESS_ONLY
def test_level_change_whose_deadline_passes_on_its_way_has_no_effect(trader: Trader) -> None:
    [filled] = trader.buy("1000", stop_loss="1.09000")
    trader.set(latency_ms=300)
    with pytest.raises(NotSent):
        trader.modify(filled, "1.09500", None, send_by=machine_time() + 0.1)
    assert [lot.stop_loss for lot in trader.positions()] == [D("1.09000")]
