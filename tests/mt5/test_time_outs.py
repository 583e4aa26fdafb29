"""Deadlines, calls that hang, processes that die: what leaves, and what never does."""

import asyncio
from datetime import timedelta

import pytest

from brokers.base import NotSent
from brokers.exit_reads import exit_read
from brokers.mt5.adapter import Mt5Adapter
from brokers.types import (
    CancelRequest,
    ModifyRequest,
    OrderRequest,
    ReportKind,
)
from common.clocks import machine_time, market_now
from common.reason_codes import Code
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import (
    CID,
    LIMIT,
    kinds,
    no_guard,
    order,
    outcome,
    run,
    spec,
    submit,
)

K = ReportKind
AGO = timedelta(hours=1)


def test_guard_runs_last_before_the_send(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    seen: list[list[str]] = []

    def guard(_: OrderRequest) -> None:
        seen.append(venue.state()["calls"])

    run(adapter.submit(spec(), order(), guard))
    (before,) = seen
    assert venue.state()["calls"][len(before)] == "order_send"


def test_guard_and_deadlines_stop_a_send(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
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
    assert [r["action"] for r in venue.state()["accepted"]] == [5]


def test_order_that_waits_past_its_deadline_is_not_sent(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    venue.fault("positions_get", "hold")

    async def all_at_once() -> BaseException | None:
        reading = asyncio.create_task(adapter.positions(spec()))
        await asyncio.to_thread(venue.control, "wait_held")
        ended = await asyncio.gather(
            adapter.submit(spec(reply_timeout=0.3), order(), no_guard), return_exceptions=True
        )
        venue.control("release")
        assert await reading == []
        assert await adapter.find_order(spec(), CID) is None  # the thread is past its turn
        return ended[0] if isinstance(ended[0], BaseException) else None

    assert type(run(all_at_once())) is NotSent
    assert "symbol_info_tick" not in venue.state()["calls"]  # not even begun
    assert venue.accepted() == []


def test_read_of_an_exit_goes_before_waiting_entries_and_polls(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """The position may be without its stop until then."""
    venue.fault("account_info", "hold")

    async def all_at_once() -> None:
        first = asyncio.create_task(adapter.account(spec()))
        await asyncio.to_thread(venue.control, "wait_held")
        before = len(venue.state()["calls"])
        waiting = [
            asyncio.create_task(adapter.fills_since(spec(), market_now() - AGO)),
            asyncio.create_task(adapter.submit(spec(), order(), no_guard)),
        ]
        await asyncio.sleep(0)
        with exit_read():
            held = asyncio.create_task(adapter.positions(spec()))
        await asyncio.sleep(0)
        venue.control("release")
        await asyncio.gather(first, held, *waiting)
        calls = venue.state()["calls"][before:]
        read = calls.index("positions_get")
        assert read < calls.index("order_send")
        assert read < calls.index("history_deals_get")

    run(all_at_once())


def test_order_abandoned_before_the_send_is_not_sent(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """Its time is over while the terminal is still being asked for the price."""
    venue.fault("symbol_info_tick", "hold")
    error = outcome(adapter, order(), reply_timeout=0.5)
    assert type(error) is NotSent
    venue.control("release")
    assert kinds(adapter) is None
    assert venue.accepted() == []


def test_order_is_not_sent_after_its_caller_is_cancelled(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    venue.fault("symbol_info_tick", "hold")

    async def cancelled() -> None:
        sending = asyncio.create_task(adapter.submit(spec(), order(), no_guard))
        await asyncio.to_thread(venue.control, "wait_held")
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        venue.control("release")
        assert await adapter.find_order(spec(), CID) is None

    run(cancelled())
    assert venue.accepted() == []


def test_calls_of_many_tasks_never_overlap(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    """The package notes an overlap; the fixture looks at it."""

    async def many() -> None:
        ids = [f"fcxmany{n:010d}0" for n in range(20)]
        sends = [adapter.submit(spec(), order(one), no_guard) for one in ids]
        await asyncio.gather(*sends, *(adapter.positions(spec()) for _ in ids))

    run(many())
    assert len(set(venue.accepted())) == 20
