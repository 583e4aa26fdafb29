"""Whose turn it is at a terminal: one process, one command at a time."""

from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from brokers.base import NotSent, ReadFailed
from brokers.dwx.adapter import create
from brokers.dwx.terminal import Terminal
from brokers.types import CheckResult, OrderRequest, OrderType, ReportKind
from common.reason_codes import Code
from tests.dwx.factories import Owner, allow, raises_outcome, run


def test_a_second_program_on_the_folder_is_noticed(owner: Owner) -> None:
    owner.buy()
    owner.terminal.fault(ignore_commands=True)
    (owner.terminal.folder / "DWX_Commands_0.txt").write_text("<:5|GET_HISTORIC_TRADES|1:>")
    with raises_outcome(NotSent) as caught:
        owner.buy()
    assert "another program" in caught[0].detail


def test_another_process_has_the_folder(owner: Owner) -> None:
    entry = owner.buy()
    other = create(str(owner.root))
    with raises_outcome(NotSent, Code.NOT_CONNECTED) as caught:
        run(other.submit(owner.spec, owner.order(), allow))
    assert "Another process" in caught[0].detail
    with raises_outcome(ReadFailed):
        run(other.find_order(owner.spec, entry.client_order_id))
    assert len(run(other.positions(owner.spec))) == 1  # what needs no command may be read
    found = {one.name: one for one in run(other.test(owner.spec))}
    assert found["commands"].result is CheckResult.WARN
    with raises_outcome(ReadFailed):
        run(other.instruments(owner.spec))
    listed = run(owner.adapter.instruments(owner.spec))
    assert run(other.instruments(owner.spec)) == listed != []
    run(owner.adapter.disconnect())
    assert run(other.find_order(owner.spec, entry.client_order_id)) == [entry]
    run(other.disconnect())


def test_orders_at_once_take_turns(owner: Owner) -> None:
    requests = [owner.order("1000") for _ in range(5)]

    told: dict[str, Any] = {}
    run(
        owner.adapter.submit_many(
            [(owner.spec, one) for one in requests],
            allow,
            lambda request, outcome: told.update({request.client_order_id: outcome}),
        )
    )
    assert set(told) == {one.client_order_id for one in requests}
    assert [one.client_order_id for [one] in told.values()] == list(told)
    assert len({one["comment"] for one in owner.terminal.journal()}) == 5


def test_a_guard_that_stops_in_a_crowd_stops_only_its_own(owner: Owner) -> None:
    refused = owner.order()

    def guard(request: OrderRequest) -> None:
        if request is refused:
            raise NotSent(Code.SEND_DEADLINE)

    with raises_outcome(NotSent, Code.SEND_DEADLINE):
        owner.submit(refused, guard)
    assert owner.buy(order_type=OrderType.LIMIT, limit_price=D("1.05")).kind is ReportKind.ACCEPTED


def test_the_thread_of_a_call_that_was_given_up_leaves_the_next_calls_file(tmp_path: Path) -> None:
    """Messages that are only half there hold it up; the next call prepares its own meanwhile."""
    (tmp_path / "fillcast").mkdir()
    terminal = Terminal(tmp_path)
    earlier, given_up, following = (
        tmp_path / "fillcast" / f"next-{number}.txt" for number in (1, 9, 10)
    )
    earlier.touch()
    terminal._prepare(following, "<:10|A|:>", None)
    assert not earlier.exists()
    terminal._prepare(given_up, "<:9|A|:>", None)
    assert following.exists()


def test_a_call_whose_file_is_gone_and_that_may_not_leave_was_not_sent(owner: Owner) -> None:
    """Whoever cleans up the folder meanwhile makes no nameless error of it."""

    def forbid(_: OrderRequest) -> None:
        for left in (owner.terminal.folder / "fillcast").glob("next-*.txt"):
            left.unlink()
        raise NotSent(Code.NO_SESSION_WORKER)

    with pytest.raises(NotSent) as refused:
        owner.submit(owner.order(), forbid)
    assert refused.value.code is Code.NO_SESSION_WORKER
