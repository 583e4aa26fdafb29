"""A terminal's folder is held from the first call to the disconnect, and watched as long."""

import asyncio
from typing import Any

import pytest

from brokers.base import NotSent, ReadFailed
from brokers.dwx.adapter import create
from brokers.types import ConnectionSpec, OrderReport, ReportKind
from common.reason_codes import Code
from tests.dwx.factories import Owner, raises_outcome, run
from tests.dwx.waiting import left, wait_for_event, wait_until


def test_a_folder_is_held_from_connect_to_disconnect(owner: Owner) -> None:
    run(owner.adapter.connect(owner.spec))
    other = create(str(owner.root))
    with raises_outcome(ReadFailed, Code.NOT_CONNECTED) as caught:
        run(other.connect(owner.spec))
    assert "Another process" in caught[0].detail
    run(owner.adapter.disconnect(owner.spec))
    run(other.connect(owner.spec))
    with raises_outcome(NotSent):
        owner.buy()
    run(other.disconnect())
    assert owner.buy().kind is ReportKind.FILLED


def test_one_account_that_ends_ends_no_other(owner: Owner) -> None:
    run(owner.adapter.connect(owner.spec))
    owner.change_settings(folder="nobody")
    run(owner.adapter.disconnect(ConnectionSpec("c2", "1")))
    owner.change_settings(folder="alice")
    with raises_outcome(ReadFailed):
        run(create(str(owner.root)).connect(owner.spec))


@pytest.mark.parametrize(
    ("said", "code"),
    [({"folder": "bob"}, Code.UNKNOWN_ACCOUNT), ({"server_zone": "Mars"}, Code.NOT_CONNECTED)],
)
def test_connecting_says_what_is_wrong(owner: Owner, said: dict[str, Any], code: Code) -> None:
    owner.change_settings(**said)
    with raises_outcome(ReadFailed, code):
        run(owner.adapter.connect(owner.spec))


def test_connecting_to_another_account(owner: Owner) -> None:
    owner.terminal.simulate("account", number="999")
    with raises_outcome(ReadFailed, Code.UNKNOWN_ACCOUNT):
        run(owner.adapter.connect(owner.spec))


def test_reading_the_account_opens_its_session(owner: Owner) -> None:
    entry = owner.buy()
    run(owner.adapter.disconnect())

    async def listen() -> OrderReport:
        await owner.adapter.account(owner.spec)
        await wait_until(lambda: "c1" in owner.adapter._watch._watched)
        await asyncio.to_thread(owner.terminal.simulate, "end", ticket=1001, mark="[sl]")
        return await wait_for_event(owner, left)

    assert run(listen()).client_order_id == entry.client_order_id
    with raises_outcome(ReadFailed):
        run(create(str(owner.root)).connect(owner.spec))


def test_reading_does_not_fail_where_nothing_can_be_asked(owner: Owner) -> None:
    run(owner.adapter.connect(owner.spec))
    other = create(str(owner.root))

    async def read_twice() -> None:
        for _ in range(2):
            assert (await other.account(owner.spec)).account == "4711"
            await asyncio.gather(*other._watch._tasks)

    run(read_twice())
    assert other._watch._watched == {}


@pytest.mark.parametrize("begin", ["hold", "look"])
def test_what_was_begun_before_a_disconnect_does_not_take_the_folder_back(
    owner: Owner, begin: str
) -> None:
    """Else this process would keep a terminal whose lane has another owner."""
    owner.buy()

    async def let_go() -> None:
        if begin == "look":
            await owner.adapter.connect(owner.spec)
        [busy] = owner.adapter._terminals.values()
        async with busy.turn():  # it has to wait for its turn
            if begin == "hold":
                await owner.adapter._watch.drop()
                await owner.adapter.account(owner.spec)
            tasks = owner.adapter._watch._tasks
            await wait_until(lambda: bool(tasks))
            waiting = list(tasks)
            await asyncio.sleep(0)
            await owner.adapter.disconnect(owner.spec)
        assert all(task.done() for task in waiting)
        await create(str(owner.root)).connect(owner.spec)  # nobody has the folder

    run(let_go())


def test_who_is_disconnected_is_watched_no_longer(owner: Owner) -> None:
    """A process that ends has its loop stand still next: what was still under way there was
    destroyed while it was pending, which asyncio logs as an error."""

    async def connect_and_end() -> None:
        await owner.adapter.connect(owner.spec)
        assert len(asyncio.all_tasks()) > 1
        await owner.adapter.disconnect(owner.spec)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(connect_and_end())


def test_who_stays_is_watched_on(owner: Owner) -> None:
    async def one_ends() -> None:
        await owner.adapter.connect(owner.spec)
        looker = owner.adapter._watch._poller
        await owner.adapter.disconnect(ConnectionSpec("c2", "1"))
        assert looker is not None
        assert not looker.done()

    run(one_ends())
