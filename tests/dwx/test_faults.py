"""What goes wrong between us, the expert advisor and the broker: nothing twice, nothing guessed."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed
from brokers.dwx import disk
from brokers.dwx.adapter import create
from brokers.dwx.raw import as_it_came
from brokers.dwx.terminal import Terminal
from brokers.messages import CheckResult, OrderReport, OrderRequest, OrderType, ReportKind
from common.codes import Code
from tests.doubles.dwx.terminal import until
from tests.dwx.cast import HASTE, Owner, failing, go, run


def meanwhile(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def absent(owner: Owner, client_order_id: str) -> None:
    """Wait until its absence is certain; prices move meanwhile."""
    prices = count()

    def is_certain() -> bool:
        step = next(prices)
        owner.terminal.wish("price", symbol="EURUSD", bid=1.1 + step / 1e5, ask=1.2 + step / 1e5)
        try:
            assert owner.find(client_order_id) is None
        except ReadFailed:
            return False
        return True

    until(is_certain, 20)


# ---- messages and files ---------------------------------------------------------------------
def test_a_lost_message_is_normal(owner: Owner) -> None:
    owner.terminal.fault(lose_messages=True)
    entry = owner.buy()
    assert entry.kind is ReportKind.FILLED
    [left] = owner.submit(owner.exit(entry.broker_position_id))
    assert left.fills[0].quantity == 10000


def test_a_refusal_without_its_message_is_unknown_and_then_absent(owner: Owner) -> None:
    owner.terminal.fault(lose_messages=True, error="not enough money")
    owner.hurries("answer_seconds")
    request = owner.order()
    with failing(OutcomeUnknown):
        owner.submit(request)
    owner.terminal.fault()
    absent(owner, request.client_order_id)
    assert owner.terminal.journal() == []


def test_half_written_files_are_read_again(owner: Owner) -> None:
    owner.terminal.fault(half=["Orders", "Messages", "Historic_Trades"], half_seconds=0.1)
    entry = owner.buy()
    assert entry.kind is ReportKind.FILLED
    assert owner.find(entry.client_order_id) == [entry]
    assert [one.broker_position_id for one in owner.positions()] == ["1001"]


def test_a_file_that_stays_half_written_is_no_answer(owner: Owner) -> None:
    request = owner.order()
    owner.submit(request)
    owner.terminal.halve("Orders")
    owner.hurries()
    with failing(ReadFailed, Code.NOT_CONNECTED):
        owner.positions()
    with failing(ReadFailed):
        owner.find(request.client_order_id)
    with failing(NotSent):
        owner.buy()
    assert len(owner.terminal.journal()) == 1


def test_what_cannot_be_read_after_an_order_is_kept_as_it_came(owner: Owner) -> None:
    owner.buy()
    owner.terminal.fault(half_after=["Orders"], half_tail=f" {owner.terminal.key} \0")
    with failing(OutcomeUnknown, Code.REPLY_LOST) as caught:
        owner.buy()
    assert 'As it came: {"account_info": {"name": "Zo\\xe9"' in caught[0].detail
    assert caught[0].detail.endswith(" *** \\0")
    assert owner.terminal.key not in caught[0].detail
    assert len(caught[0].detail) < 2000


def test_messages_that_cannot_be_read_are_kept_as_they_came(owner: Owner) -> None:
    owner.buy()
    owner.terminal.fault(error="no connection", half_after=["Messages"], half_tail=" <end>")
    with failing(OutcomeUnknown, Code.REPLY_LOST) as caught:
        owner.buy()
    assert caught[0].detail.startswith("No effect was seen. As it came: {")
    assert caught[0].detail.endswith(" <end>")


def test_what_came_is_cut_and_told_without_secrets() -> None:
    told = as_it_came(b"a" * 7_995 + b"s3cret" + b"b" * 50_000 + b"end", {"password": "s3cret"})
    assert len(told) < 1_600
    assert told.startswith("As it came: aaa")
    assert told.endswith("bbend")
    assert "s3c" not in told
    assert as_it_came("{½".encode("utf-16"), {}) == "As it came: {½"
    assert as_it_came(b"", {}) == ""


def test_messages_that_stay_half_written_hold_orders_back(owner: Owner) -> None:
    owner.buy()
    (owner.terminal.folder / "DWX_Messages.txt").write_bytes(b'{"1": {"type"')
    with failing(NotSent, Code.NOT_CONNECTED) as caught:
        owner.buy()
    assert "half-written" in caught[0].detail
    assert len(owner.terminal.journal()) == 1


# ---- the expert advisor ---------------------------------------------------------------------
def test_nobody_there(owner: Owner) -> None:
    owner.buy()
    owner.terminal.kill()
    owner.hurries()
    orders = owner.terminal.folder / "DWX_Orders.txt"
    until(lambda: time.time() - orders.stat().st_mtime > HASTE["stale_seconds"])
    with failing(NotSent, Code.NOT_CONNECTED):
        owner.buy()
    for read in (owner.adapter.account, owner.adapter.positions, owner.adapter.open_orders):
        with failing(ReadFailed, Code.NOT_CONNECTED):
            run(read(owner.spec))
    with failing(ReadFailed):
        owner.find("abc")
    assert not (owner.terminal.folder / "DWX_Commands_0.txt").exists()
    owner.terminal.start()
    owner.calms()
    assert len(owner.positions()) == 1
    assert owner.buy().broker_order_id == "1002"


def test_a_command_that_nobody_takes_is_withdrawn(owner: Owner) -> None:
    entry = owner.buy()
    withdrawn = owner.terminal.folder / "fillcast/withdrawn.txt"

    def wake() -> None:
        until(withdrawn.exists)
        owner.terminal.fault()

    owner.terminal.fault(deaf=True)
    owner.hurries("take_seconds")
    thread = meanwhile(wake)
    request = owner.order()
    with failing(NotSent, Code.NOT_CONNECTED):
        owner.submit(request)
    thread.join()
    assert [one["comment"] for one in owner.terminal.journal()] == [entry.client_order_id]
    assert owner.find(request.client_order_id) is None  # at once: it is proven
    assert owner.submit(request)[0].kind is ReportKind.FILLED


def test_a_command_that_was_read_before_it_was_withdrawn_is_not_sent_again(owner: Owner) -> None:
    owner.buy()
    withdrawn = owner.terminal.folder / "fillcast/withdrawn.txt"

    def wake() -> None:
        until(withdrawn.exists)
        owner.terminal.fault()

    owner.terminal.fault(read_then_wait=60)  # longer than take_seconds
    owner.says(take_seconds=0.2, stale_seconds=1)
    thread = meanwhile(wake)
    request = owner.order()
    [told] = owner.submit(request)
    thread.join()
    assert told.kind is ReportKind.FILLED
    ours = [one for one in owner.terminal.journal() if one["comment"] == request.client_order_id]
    assert len(ours) == 1


def test_a_command_that_was_read_by_one_who_hangs_is_unknown(owner: Owner) -> None:
    owner.buy()
    owner.terminal.fault(read_then_wait=60)
    owner.hurries()
    request = owner.order()
    with failing(OutcomeUnknown):
        owner.submit(request)
    with failing(NotSent):  # the next one waits until the first has ended
        owner.buy()
    with failing(ReadFailed):
        owner.find(request.client_order_id)
    owner.terminal.fault()
    until(lambda: len(owner.terminal.journal()) == 2)
    owner.calms()
    [told] = owner.find(request.client_order_id) or []
    assert told.kind is ReportKind.FILLED


def test_one_who_hangs_before_reading(owner: Owner) -> None:
    owner.buy()
    owner.terminal.fault(hang=True)
    owner.hurries()
    request = owner.order()
    with failing(OutcomeUnknown, Code.REPLY_LOST):
        owner.submit(request)
    owner.terminal.fault()
    owner.calms()
    absent(owner, request.client_order_id)
    assert len(owner.terminal.journal()) == 1


def test_killed_between_taking_and_the_broker(owner: Owner) -> None:
    owner.buy()
    owner.terminal.fault(slow_trade=60)
    owner.says(answer_seconds=0.8, stale_seconds=0.8)

    def kill() -> None:
        until(lambda: len([c for c, _ in owner.terminal.commands() if c == "OPEN_ORDER"]) == 2)
        owner.terminal.kill()

    thread = meanwhile(kill)
    request = owner.order()
    with failing(OutcomeUnknown):
        owner.submit(request)
    thread.join()
    owner.calms()
    owner.terminal.fault()
    owner.terminal.start()
    absent(owner, request.client_order_id)
    assert len(owner.positions()) == 1


def test_a_start_deletes_commands_and_that_proves_nothing(owner: Owner) -> None:
    owner.buy()
    owner.terminal.fault(deaf=True)
    slot = owner.terminal.folder / "DWX_Commands_0.txt"

    def restart() -> None:
        until(slot.exists)
        owner.terminal.close()  # empties its folder
        owner.terminal.fault()
        owner.terminal.start()

    owner.says(answer_seconds=0.8)
    thread = meanwhile(restart)
    request = owner.order()
    with failing(OutcomeUnknown):
        owner.submit(request)
    thread.join()
    absent(owner, request.client_order_id)


# ---- the broker -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "error",
    ["trade timeout", "common error", "no connection with trade server", "ErrorCode: 142", "new"],
)
def test_errors_that_do_not_say_no_are_unknown(owner: Owner, error: str) -> None:
    owner.terminal.fault(error=error)
    with failing(OutcomeUnknown, Code.REPLY_LOST) as caught:
        owner.buy()
    assert error in caught[0].detail


def test_a_time_out_that_was_executed_late_is_found(owner: Owner) -> None:
    owner.says(settle_seconds=30)
    owner.terminal.fault(error="trade timeout", late=1.5)
    request = owner.order()
    with failing(OutcomeUnknown):
        owner.submit(request)
    with failing(ReadFailed):  # not yet there, and that proves nothing
        owner.find(request.client_order_id)
    until(lambda: bool(owner.positions()))
    [told] = owner.find(request.client_order_id) or []
    assert told.kind is ReportKind.FILLED


def test_absence_is_no_proof_while_no_price_moves(owner: Owner) -> None:
    owner.terminal.fault(error="trade timeout")
    request = owner.order()
    with failing(OutcomeUnknown):
        owner.submit(request)
    owner.says(settle_seconds=0.05)
    for _ in range(2):
        with failing(ReadFailed) as caught:
            owner.find(request.client_order_id)
        if "No price" in caught[0].detail:
            break
    else:
        pytest.fail(caught[0].detail)
    absent(owner, request.client_order_id)


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


# ---- late and twice -------------------------------------------------------------------------
def test_a_late_refusal_of_one_order_is_not_the_next_ones(owner: Owner) -> None:
    owner.says(answer_seconds=0.3)
    owner.terminal.fault(slow_trade=0.7, error="not enough money")
    first, second = owner.order(), owner.order()
    with failing(OutcomeUnknown):
        owner.submit(first)
    owner.terminal.fault(slow_trade=0.7)
    owner.says(answer_seconds=5, stale_seconds=5)  # the terminal still waits for its broker
    [told] = owner.submit(second)
    assert told.client_order_id == second.client_order_id
    assert [one["comment"] for one in owner.terminal.journal()] == [second.client_order_id]


def test_an_order_that_is_there_is_not_placed_again(owner: Owner) -> None:
    request = owner.order()
    assert owner.submit(request) == owner.submit(request)
    assert len(owner.terminal.journal()) == 1


@pytest.mark.parametrize("quantity", ["10000", "4000"])
def test_an_exit_without_an_answer_closes_once_however_often_it_is_sent(
    owner: Owner, quantity: str
) -> None:
    entry = owner.buy()
    owner.says(answer_seconds=0.4)
    owner.terminal.fault(slow_trade=1.0)
    request = owner.exit(entry.broker_position_id, quantity)
    with failing(OutcomeUnknown):
        owner.submit(request)
    owner.says(answer_seconds=5)
    owner.terminal.fault()
    [told] = owner.submit(request)
    assert told.fills[0].quantity == D(quantity)
    assert owner.find(request.client_order_id) == [told]
    assert len(owner.terminal.journal("close")) == 1


def test_an_exit_that_never_arrived_is_certain_once_its_ticket_closed_otherwise(
    owner: Owner,
) -> None:
    entry = owner.buy()
    owner.terminal.fault(error="trade timeout")
    request = owner.exit(entry.broker_position_id)
    with failing(OutcomeUnknown):
        owner.submit(request)
    owner.says(settle_seconds=60)
    with failing(ReadFailed):
        owner.find(request.client_order_id)
    owner.terminal.fault()
    owner.terminal.wish("end", ticket=1001, mark="[tp]")
    assert owner.find(request.client_order_id) is None


def test_what_the_history_hides_is_unknown_until_it_shows(owner: Owner) -> None:
    entry = owner.buy()
    waiting = owner.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner.terminal.fault(hide_history=True)
    request = owner.exit(entry.broker_position_id)
    with failing(OutcomeUnknown):
        owner.submit(request)
    with failing(ReadFailed) as caught:
        owner.find(request.client_order_id)
    assert "not in sight" in caught[0].detail
    with failing(OutcomeUnknown):
        owner.cancel(waiting)
    with failing(OutcomeUnknown):  # it no longer waits, and that is all that can be seen
        owner.cancel(waiting)
    owner.terminal.fault()
    [told] = owner.find(request.client_order_id) or []
    assert told.client_order_id == request.client_order_id
    assert [one.kind for one in owner.cancel(waiting)] == [ReportKind.CANCELLED]


def test_a_lost_ledger_costs_the_names_of_exits_and_nothing_else(owner: Owner) -> None:
    entry = owner.buy()
    owner.submit(owner.exit(entry.broker_position_id, "4000"))
    owner.restart()
    (owner.terminal.folder / "fillcast/ledger.jsonl").unlink()
    [left] = owner.positions()
    assert left.quantity == 6000
    assert left.broker_position_id == entry.broker_position_id
    [found] = owner.find(entry.client_order_id) or []
    assert found.fills == entry.fills
    [told] = [one for one in fills(owner) if one.close_cause]
    assert told.broker_position_id == entry.broker_position_id
    assert owner.buy().kind is ReportKind.FILLED  # its number is a new one


def fills(owner: Owner) -> list[OrderReport]:
    since = datetime.now(UTC) - timedelta(hours=1)
    return run(owner.adapter.fills_since(owner.spec, since))


def test_our_process_dies_after_the_write(owner: Owner) -> None:
    owner.buy()
    owner.terminal.fault(slow_trade=0.6)
    request = owner.order()

    async def die() -> None:
        async with asyncio.timeout(0.3):
            await owner.adapter.submit(owner.spec, request, go)

    with pytest.raises(TimeoutError):
        run(die())
    owner.restart()
    [told] = owner.find(request.client_order_id) or []
    assert told.kind is ReportKind.FILLED
    assert len(owner.terminal.journal()) == 2


def test_a_command_left_by_a_dead_process_is_not_overtaken(owner: Owner) -> None:
    owner.terminal.fault(deaf=True)
    slot = owner.terminal.folder / "DWX_Commands_0.txt"
    slot.write_text("<:5|OPEN_ORDER|EURUSD,buy,0.50,0,0,0,7,old,0:>")
    owner.hurries()
    with failing(NotSent):
        owner.buy()
    assert owner.terminal.journal() == []
    owner.calms()
    owner.terminal.fault()
    assert owner.buy().kind is ReportKind.FILLED
    assert [one["comment"] == "old" for one in owner.terminal.journal()] == [False]


def test_a_second_program_on_the_folder_is_noticed(owner: Owner) -> None:
    owner.buy()
    owner.terminal.fault(deaf=True)
    (owner.terminal.folder / "DWX_Commands_0.txt").write_text("<:5|GET_HISTORIC_TRADES|1:>")
    with failing(NotSent) as caught:
        owner.buy()
    assert "another program" in caught[0].detail


def test_another_process_has_the_folder(owner: Owner) -> None:
    entry = owner.buy()
    other = create(str(owner.root))
    with failing(NotSent, Code.NOT_CONNECTED) as caught:
        run(other.submit(owner.spec, owner.order(), go))
    assert "Another process" in caught[0].detail
    with failing(ReadFailed):
        run(other.find_order(owner.spec, entry.client_order_id))
    assert len(run(other.positions(owner.spec))) == 1  # what needs no command may be read
    found = {one.name: one for one in run(other.test(owner.spec))}
    assert found["commands"].result is CheckResult.WARN
    with failing(ReadFailed):
        run(other.instruments(owner.spec))
    listed = run(owner.adapter.instruments(owner.spec))
    assert run(other.instruments(owner.spec)) == listed != []
    run(owner.adapter.disconnect())
    assert run(other.find_order(owner.spec, entry.client_order_id)) == [entry]
    run(other.disconnect())


@pytest.mark.parametrize("what", ["fillcast", "fillcast/ledger.jsonl"])
def test_a_folder_that_fails(owner: Owner, what: str) -> None:
    if what == "fillcast":
        (owner.terminal.folder / what).write_text("in the way")
    else:
        (owner.terminal.folder / what).mkdir(parents=True)
    with failing(NotSent, Code.NOT_CONNECTED) as caught:
        owner.buy()
    assert "The folder fails" in caught[0].detail
    with failing(ReadFailed):
        owner.find("abc")
    assert owner.terminal.journal() == []


def test_orders_at_once_take_turns(owner: Owner) -> None:
    requests = [owner.order("1000") for _ in range(5)]

    told: dict[str, Any] = {}
    run(
        owner.adapter.submit_many(
            [(owner.spec, one) for one in requests],
            go,
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

    with failing(NotSent, Code.SEND_DEADLINE):
        owner.submit(refused, guard)
    assert owner.buy(order_type=OrderType.LIMIT, limit_price=D("1.05")).kind is ReportKind.ACCEPTED


# ---- a folder that others can write to ------------------------------------------------------
@pytest.mark.parametrize("kind", ["link", "pipe", "huge"])
@pytest.mark.parametrize("name", ["DWX_Orders.txt", "fillcast.key", "fillcast/ledger.jsonl"])
def test_only_real_files_are_read_and_written(
    owner: Owner, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.buy()
    owner.restart()
    if name == "DWX_Orders.txt":
        owner.terminal.kill()  # it would write into the link
        owner.says(stale_seconds=0.6)
    path, others = owner.terminal.folder / name, owner.root / "others"
    others.write_bytes(path.read_bytes() + b"\n" * 5000)
    before = others.read_bytes()
    if kind == "huge":
        path.write_bytes(before)
        monkeypatch.setattr(disk, "LARGEST", 5000)
    else:
        path.unlink()
        path.symlink_to(others) if kind == "link" else os.mkfifo(path)
    with failing(ReadFailed) as caught:
        owner.positions()
    reasons = ("symbolic link", "is no file", "larger than", "no folder of this name")
    assert any(said in caught[0].detail for said in reasons)
    with failing(NotSent):
        owner.buy()
    assert others.read_bytes() == before


def test_our_own_folder_is_no_link(owner: Owner, tmp_path: Path) -> None:
    (owner.terminal.folder / "fillcast").symlink_to(tmp_path)
    before = {*tmp_path.iterdir()}
    with failing(NotSent, Code.NOT_CONNECTED):
        owner.buy()
    assert {*tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "line",
    ['{"number": 9, "what": "open"}', '{"number": 9, "what": "open", "lots": "x"}',
     '{"number": 9, "what": "open", "lots": "1", "new": 1}'],
)  # fmt: skip
def test_a_ledger_with_strange_lines_holds_orders_back(owner: Owner, line: str) -> None:
    owner.buy()
    with (owner.terminal.folder / "fillcast/ledger.jsonl").open("a") as file:
        file.write(f"\n{line}")
    with failing(NotSent, Code.NOT_CONNECTED) as caught:
        owner.submit(owner.exit("1001"))
    assert "not ours" in caught[0].detail
    with failing(ReadFailed):
        owner.positions()


def test_numbers_that_are_none_are_left_out(owner: Owner) -> None:
    entry = owner.buy()
    with (owner.terminal.folder / "fillcast/ledger.jsonl").open("a") as file:
        file.write('\n{"number": "9"}\n[]\n{"end": "refused"}')
    owner.restart()
    assert owner.find(entry.client_order_id) == [entry]


@pytest.mark.parametrize(
    "kept", ["{", "[]", '{"EURUSD": 5}', '{"EURUSD": ["x", "y"]}', '{"DAX": []}']
)
def test_bounds_that_cannot_be_read(owner: Owner, kept: str) -> None:
    owner.buy()
    (owner.terminal.folder / "fillcast/bounds.json").write_text(kept)
    other = create(str(owner.root))
    with failing(ReadFailed, Code.NOT_CONNECTED):
        run(other.instruments(owner.spec))


def test_bounds_that_cannot_be_kept(owner: Owner) -> None:
    (owner.terminal.folder / "fillcast").mkdir()
    (owner.terminal.folder / "fillcast/bounds.json").mkdir()
    assert len(run(owner.adapter.instruments(owner.spec))) == 2


def test_the_thread_of_a_call_that_was_given_up_leaves_the_next_calls_file(tmp_path: Path) -> None:
    """Messages that are only half there hold it up; the next call prepares its own meanwhile."""
    (tmp_path / "fillcast").mkdir()
    terminal = Terminal(tmp_path)
    terminal._reserved = 100
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
        raise NotSent(Code.LANE_UNHELD)

    with pytest.raises(NotSent) as refused:
        owner.submit(owner.order(), forbid)
    assert refused.value.code is Code.LANE_UNHELD
