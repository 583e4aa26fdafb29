"""A folder is locked and watched from the first call to the disconnect."""

import asyncio
from typing import Any

import pytest

from brokers.base import NotSent, ReadFailed
from brokers.dwx.adapter import create
from brokers.types import ConnectionSpec, OrderReport, ReportKind
from common.reason_codes import Code
from tests.dwx.factories import Account, raises_outcome, run
from tests.dwx.waiting import is_exit, wait_for_event
from tests.until import until_async


def test_folder_is_locked_from_connect_to_disconnect(account: Account) -> None:
    run(account.adapter.connect(account.spec))
    other = create(str(account.root))
    with raises_outcome(ReadFailed, Code.NOT_CONNECTED) as caught:
        run(other.connect(account.spec))
    assert "Another process" in caught[0].detail
    run(account.adapter.disconnect(account.spec))
    run(other.connect(account.spec))
    with raises_outcome(NotSent):
        account.buy()
    run(other.disconnect())
    assert account.buy().kind is ReportKind.FILLED


def test_disconnect_of_one_account_keeps_the_others(account: Account) -> None:
    run(account.adapter.connect(account.spec))
    account.change_settings(folder="bob")
    run(account.adapter.disconnect(ConnectionSpec("c2", "1")))
    account.change_settings(folder="alice")
    with raises_outcome(ReadFailed):
        run(create(str(account.root)).connect(account.spec))


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"folder": "bob"}, Code.UNKNOWN_ACCOUNT), ({"server_zone": "Mars"}, Code.NOT_CONNECTED)],
)
def test_connect_reports_wrong_settings(
    account: Account, changes: dict[str, Any], code: Code
) -> None:
    account.change_settings(**changes)
    with raises_outcome(ReadFailed, code):
        run(account.adapter.connect(account.spec))


def test_connect_fails_when_other_account_is_logged_in(account: Account) -> None:
    account.terminal.simulate("account", number="999")
    with raises_outcome(ReadFailed, Code.UNKNOWN_ACCOUNT):
        run(account.adapter.connect(account.spec))


def test_account_read_opens_its_session(account: Account) -> None:
    entry = account.buy()
    run(account.adapter.disconnect())

    async def listen() -> OrderReport:
        await account.adapter.account(account.spec)
        await until_async(lambda: "c1" in account.adapter._watch._watched)
        await asyncio.to_thread(account.terminal.simulate, "end", ticket=1001, mark="[sl]")
        return await wait_for_event(account, is_exit)

    assert run(listen()).client_order_id == entry.client_order_id
    with raises_outcome(ReadFailed):
        run(create(str(account.root)).connect(account.spec))


def test_account_is_read_while_another_process_has_the_lock(account: Account) -> None:
    run(account.adapter.connect(account.spec))
    other = create(str(account.root))

    async def read_twice() -> None:
        for _ in range(2):
            assert (await other.account(account.spec)).account == "4711"
            await asyncio.gather(*other._watch._tasks)

    run(read_twice())
    assert other._watch._watched == {}


@pytest.mark.parametrize("begin", ["lock", "poll"])
def test_pending_tasks_do_not_lock_folder_after_disconnect(account: Account, begin: str) -> None:
    """Else this process would keep a terminal whose lane another worker owns."""
    account.buy()

    async def disconnect() -> None:
        if begin == "poll":
            await account.adapter.connect(account.spec)
        [terminal] = account.adapter._terminals.values()
        async with terminal.turn():  # the task has to wait
            if begin == "lock":
                await account.adapter._watch.drop()
                await account.adapter.account(account.spec)
            tasks = account.adapter._watch._tasks
            await until_async(lambda: bool(tasks))
            pending = list(tasks)
            await asyncio.sleep(0)
            await account.adapter.disconnect(account.spec)
        assert all(task.done() for task in pending)
        await create(str(account.root)).connect(account.spec)  # the folder is not locked

    run(disconnect())


def test_disconnected_account_is_not_watched(account: Account) -> None:
    """The event loop of an ending process stops next. asyncio would log tasks that are pending then
    as errors."""

    async def connect_and_end() -> None:
        await account.adapter.connect(account.spec)
        assert len(asyncio.all_tasks()) > 1
        await account.adapter.disconnect(account.spec)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(connect_and_end())


def test_connected_account_stays_watched(account: Account) -> None:
    async def disconnect_other() -> None:
        await account.adapter.connect(account.spec)
        poller = account.adapter._watch._poller
        await account.adapter.disconnect(ConnectionSpec("c2", "1"))
        assert poller is not None
        assert not poller.done()

    run(disconnect_other())
