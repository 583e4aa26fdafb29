"""One process sends commands to a terminal, one command at a time."""

import asyncio
import itertools
import time
from decimal import Decimal as D
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from brokers.base import NotSent, ReadFailed
from brokers.dwx.adapter import create
from brokers.dwx.terminal import Terminal
from brokers.types import CheckResult, OrderReport, OrderRequest, OrderType, ReportKind
from common.clocks import machine_time
from common.reason_codes import Code
from tests.dwx.factories import Account, allow, raises_outcome, run
from tests.until import until_async


def test_second_program_on_folder_is_detected(account: Account) -> None:
    account.buy()
    account.terminal.fault(ignore_commands=True)
    (account.terminal.folder / "DWX_Commands_0.txt").write_text("<:5|GET_HISTORIC_TRADES|1:>")
    with raises_outcome(NotSent) as caught:
        account.buy()
    assert "another program" in caught[0].detail


def test_only_one_process_sends_commands(account: Account) -> None:
    entry = account.buy()
    other = create(str(account.root))
    with raises_outcome(NotSent, Code.NOT_CONNECTED) as caught:
        run(other.submit(account.spec, account.order(), allow))
    assert "Another process" in caught[0].detail
    with raises_outcome(ReadFailed):
        run(other.find_order(account.spec, entry.client_order_id))
    assert len(run(other.positions(account.spec))) == 1  # reads without a command are allowed
    found = {one.name: one for one in run(other.test(account.spec))}
    assert found["commands"].result is CheckResult.WARN
    with raises_outcome(ReadFailed):
        run(other.instruments(account.spec))
    listed = run(account.adapter.instruments(account.spec))
    assert run(other.instruments(account.spec)) == listed != []
    run(account.adapter.disconnect())
    assert run(other.find_order(account.spec, entry.client_order_id)) == [entry]
    run(other.disconnect())


def test_concurrent_orders_are_sent_in_turn(account: Account) -> None:
    requests = [account.order("1000") for _ in range(5)]

    outcomes: dict[str, Any] = {}
    run(
        account.adapter.submit_many(
            [(account.spec, one) for one in requests],
            allow,
            lambda request, outcome: outcomes.update({request.client_order_id: outcome}),
        )
    )
    assert set(outcomes) == {one.client_order_id for one in requests}
    assert [one.client_order_id for [one] in outcomes.values()] == list(outcomes)
    assert len({one["comment"] for one in account.terminal.journal()}) == 5


def test_queue_that_moves_is_waited_for(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together the orders take longer than one command may: none is refused for that."""
    account.change_settings(take_seconds=100, answer_seconds=100, stale_seconds=100)
    passed = itertools.count()
    ahead = 0

    def takes_a_minute(_: OrderRequest) -> None:
        nonlocal ahead
        ahead = 60 * next(passed)

    monkeypatch.setattr(
        "brokers.dwx.terminal.time",
        SimpleNamespace(time=time.time, monotonic=lambda: time.monotonic() + ahead),
    )
    requests = [account.order("1000") for _ in range(7)]

    async def at_once() -> list[list[OrderReport]]:
        calls = (account.adapter.submit(account.spec, one, takes_a_minute) for one in requests)
        return await asyncio.gather(*calls)

    reports = run(at_once())
    assert [one.client_order_id for [one] in reports] == [one.client_order_id for one in requests]
    assert ahead == 360  # more than the 200 s that one command may take
    assert len(account.terminal.journal()) == 7


def test_order_whose_time_passes_in_the_queue_is_not_sent(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.terminal.fault(slow_trade=600)
    first, second = account.order("1000"), account.order("1000", send_by=machine_time() + 600)
    ahead = 0

    async def in_turn() -> list[Any]:
        nonlocal ahead
        loop, is_sent = asyncio.get_running_loop(), asyncio.Event()

        def notes_sending(_: OrderRequest) -> None:
            loop.call_soon_threadsafe(is_sent.set)

        sending = asyncio.ensure_future(account.adapter.submit(account.spec, first, notes_sending))
        await is_sent.wait()
        [terminal] = account.adapter._terminals.values()
        waiting = asyncio.ensure_future(account.adapter.submit(account.spec, second, allow))
        await until_async(lambda: len(terminal._queue) == 1)
        ahead = 601
        await asyncio.wait({waiting})
        account.terminal.fault()
        return [*await asyncio.gather(sending, waiting, return_exceptions=True)]

    account.change_settings(answer_seconds=100)
    monkeypatch.setattr("brokers.dwx.terminal.machine_time", lambda: machine_time() + ahead)
    [[report], error] = run(in_turn())
    assert report.client_order_id == first.client_order_id
    assert isinstance(error, NotSent)
    assert error.code is Code.SEND_DEADLINE
    assert len(account.terminal.journal()) == 1


def test_guard_stops_only_its_own_order(account: Account) -> None:
    refused = account.order()

    def guard(request: OrderRequest) -> None:
        if request is refused:
            raise NotSent(Code.SEND_DEADLINE)

    with raises_outcome(NotSent, Code.SEND_DEADLINE):
        account.submit(refused, guard)
    assert (
        account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05")).kind is ReportKind.ACCEPTED
    )


def test_abandoned_call_does_not_remove_file_of_next_call(tmp_path: Path) -> None:
    """Half-written messages delay a call; meanwhile the next call writes its own file."""
    (tmp_path / "fillcast").mkdir()
    terminal = Terminal(tmp_path)
    earlier, abandoned, following = (
        tmp_path / "fillcast" / f"next-{number}.txt" for number in (1, 9, 10)
    )
    earlier.touch()
    terminal._prepare(following, "<:10|A|:>", None)
    assert not earlier.exists()
    terminal._prepare(abandoned, "<:9|A|:>", None)
    assert following.exists()


def test_refused_call_without_its_file_is_not_sent(account: Account) -> None:
    """Deleting the file of a prepared call does not hide why the guard refused it."""

    def forbid(_: OrderRequest) -> None:
        for prepared in (account.terminal.folder / "fillcast").glob("next-*.txt"):
            prepared.unlink()
        raise NotSent(Code.NO_SESSION_WORKER)

    with pytest.raises(NotSent) as refused:
        account.submit(account.order(), forbid)
    assert refused.value.code is Code.NO_SESSION_WORKER
