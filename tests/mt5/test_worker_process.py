"""The process that holds the package: what its hanging, standing still and dying mean for orders,
and that other accounts go on."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed
from brokers.mt5 import worker_process
from brokers.mt5.adapter import Mt5Adapter
from brokers.types import OrderRequest, ReportKind, Side
from common.clocks import machine_time
from common.reason_codes import Code
from tests.fakes.mt5.fake_terminal import ROOT, FakeTerminal
from tests.mt5.factories import (
    CID,
    EXIT,
    bought,
    kinds,
    no_guard,
    order,
    outcome,
    run,
    spec,
    submit,
)
from tests.until import until

K = ReportKind
OTHER = "fcxother0000000000"


def process_of(adapter: Mt5Adapter) -> int:
    run(adapter.positions(spec()))
    pid = adapter.calls.library.pid
    assert pid is not None
    return pid


def is_there(pid: int) -> bool:
    """Whether a process runs (one that ended and was not waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def test_event_loop_runs_while_the_package_blocks_its_interpreter(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """The lease, the guard and every other account of this process go by this loop."""
    process_of(adapter)
    venue.fault("order_send", "freeze", seconds=3)

    async def beats() -> int:
        calling = asyncio.create_task(adapter.submit(spec(), order(), no_guard))
        beaten = 0
        while not calling.done():
            await asyncio.sleep(0.01)
            beaten += 1
        await calling
        return beaten

    began = time.monotonic()
    assert run(beats()) > 20  # a loop that stands still has one or two, and a good one some hundred
    assert time.monotonic() - began > 3


@pytest.mark.parametrize("accepts", [True, False])
def test_hanging_call_is_unknown_and_the_next_uses_a_new_process(
    venue: FakeTerminal, adapter: Mt5Adapter, hasty: None, accepts: bool
) -> None:
    pid = process_of(adapter)
    venue.fault("order_send", "hold", accepts=accepts)
    for seconds in (3, 20, 120):  # a busy machine may need the first of them until the send
        error = outcome(adapter, order(), reply_timeout=seconds)
        if "order_send" in venue.state()["calls"]:
            break
    assert (type(error), error.code) == (OutcomeUnknown, Code.REPLY_LOST)
    assert kinds(adapter) == ([K.FILLED] if accepts else None)
    assert submit(adapter, order(OTHER))[-1].kind is K.FILLED
    assert not is_there(pid)
    venue.control("release")
    until(lambda: CID in venue.accepted())  # the server took it whenever it was let go
    assert kinds(adapter) == [K.FILLED]
    assert sorted(venue.accepted()) == sorted([CID, OTHER])


@pytest.mark.parametrize("accepts", [True, False])
def test_process_that_dies_in_the_send(
    venue: FakeTerminal, adapter: Mt5Adapter, accepts: bool
) -> None:
    pid = process_of(adapter)
    venue.fault("order_send", "die", accepts=accepts)
    error = outcome(adapter, order())
    assert (type(error), error.code) == (OutcomeUnknown, Code.REPLY_LOST)
    assert kinds(adapter) == ([K.FILLED] if accepts else None)
    assert venue.accepted() == ([CID] if accepts else [])
    assert process_of(adapter) != pid


def test_process_that_dies_before_the_send_sent_nothing(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    venue.fault("order_check", "die")
    assert type(outcome(adapter, order())) is NotSent
    assert submit(adapter, order())[-1].kind is K.FILLED
    assert venue.accepted() == [CID]


def test_process_killed_between_two_calls_is_replaced(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    pid = process_of(adapter)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_there(pid))
    assert submit(adapter, order())[-1].kind is K.FILLED


def test_order_read_too_late_by_its_process_is_not_sent(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """It stood still between our guard and its send."""
    pid = process_of(adapter)
    guarded: list[float] = []

    def guard(_: OrderRequest) -> None:
        if (now := machine_time()) < ends:
            guarded.append(now)
            os.kill(pid, signal.SIGSTOP)

    async def stand_still() -> BaseException | None:
        sending = asyncio.create_task(adapter.submit(spec(), order(send_by=ends), guard))
        await asyncio.to_thread(until, lambda: machine_time() > ends)
        os.kill(pid, signal.SIGCONT)
        (ended,) = await asyncio.gather(sending, return_exceptions=True)
        return ended if isinstance(ended, BaseException) else None

    for seconds in (3.0, 20.0, 120.0):  # a busy machine may need the first to reach the guard
        ends = machine_time() + seconds
        error = run(stand_still())
        if guarded:
            break
    assert guarded
    assert isinstance(error, NotSent)
    assert error.code is Code.SEND_DEADLINE
    assert venue.accepted() == []
    assert "order_send" not in venue.state()["calls"]


def test_worker_killed_in_the_send_is_resolved_by_the_next(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """The package's process ends on its own; the terminal keeps the order that it received."""
    venue.fault("order_send", "hold")
    program = (
        "import asyncio; from brokers.mt5.adapter import create;"
        " from tests.mt5.factories import spec, order, no_guard; made = create();"
        " asyncio.run(made.positions(spec())); print(made.calls.library.pid, flush=True);"
        " asyncio.run(made.submit(spec(), order(), no_guard))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT, env=venue.environment(), stdout=subprocess.PIPE, text=True,
    ) as worker:  # fmt: skip
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        venue.control("wait_held")
        worker.kill()
    assert kinds(adapter) is None  # not yet
    venue.control("release")
    until(lambda: not is_there(pid))
    assert kinds(adapter) == [K.FILLED]
    assert venue.accepted() == [CID]


def test_output_of_the_package_is_not_read_as_a_reply(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    venue.fault("order_send", "print", text="\x00\x00\x00\x02{}")
    assert submit(adapter, order())[-1].kind is K.FILLED


def test_process_has_no_secrets_of_the_installation(
    venue: FakeTerminal, adapter: Mt5Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FILLCAST_CREDENTIALS_PRIVATE_KEYS", "a-key-of-ours")
    monkeypatch.setenv("DATABASE_URL", "postgresql://us:a-word-of-ours@db/x")
    pid = process_of(adapter)
    assert b"of-ours" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_unreadable_replies_contain_no_password() -> None:
    class Broken:
        def login(self, *args: Any, **words: Any) -> None:
            raise TypeError(f"cannot read {words}")

    asked = {"args": [1], "kwargs": {"password": "hunter2"}, "before": None}
    outcomes = worker_process.handle_call(Broken(), {"call": "login", **asked})
    assert outcomes == {"raised": "TypeError: cannot read {'password': '***'}"}
    assert worker_process.handle_call(Broken(), {"call": "system", **asked}) == {
        "raised": "no function 'system'"
    }


def test_exits_overtake_waiting_entries(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    number = bought(adapter)
    venue.fault("history_deals_get", "hold")
    entry = order(OTHER)
    exit_ = order(EXIT, side=Side.SELL, reduce_only=True, broker_position_id=number)

    async def queue_up() -> None:
        reading = asyncio.create_task(adapter.find_order(spec(), CID))
        await asyncio.to_thread(venue.control, "wait_held")
        sending = [
            asyncio.create_task(adapter.submit(spec(), one, no_guard)) for one in (entry, exit_)
        ]
        await asyncio.sleep(0)  # both stand in the queue
        venue.control("release")
        await asyncio.gather(reading, *sending)

    run(queue_up())
    assert venue.accepted() == [CID, EXIT, OTHER]


def test_order_whose_deadline_passes_in_the_queue_is_not_sent(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """Proven at its deadline, long before the call that it waits for ends."""
    process_of(adapter)
    venue.fault("history_deals_get", "hold")

    async def wait_in_vain() -> BaseException:
        reading = asyncio.create_task(adapter.find_order(spec(), CID))
        await asyncio.to_thread(venue.control, "wait_held")
        late = order(send_by=machine_time() + 0.2)
        (ended,) = await asyncio.gather(
            adapter.submit(spec(), late, no_guard), return_exceptions=True
        )
        venue.control("release")
        await reading
        assert isinstance(ended, BaseException)
        return ended

    error = run(wait_in_vain())
    assert isinstance(error, NotSent)
    assert error.code is Code.SEND_DEADLINE
    assert venue.accepted() == []


def test_reply_after_the_callers_timeout_is_still_reported(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """`submit_many` goes on: the server's word counts whenever it comes."""
    venue.fault("order_send", "freeze", seconds=0.5)
    outcomes: list[Any] = []
    request = order(send_by=machine_time() + 120)
    run(adapter.submit_many([(spec(), request)], no_guard, lambda *pair: outcomes.append(pair)))
    assert [(r.client_order_id, outcome[-1].kind) for r, outcome in outcomes] == [(CID, K.FILLED)]


def test_process_that_dies_in_a_read(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.fault("positions_get", "die")
    with pytest.raises(ReadFailed):
        run(adapter.positions(spec()))
    assert run(adapter.positions(spec())) == []
