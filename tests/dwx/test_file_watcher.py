"""Events at the terminal that we did not request."""

import asyncio
import time
from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from brokers.dwx import file_watcher, shared_files
from brokers.dwx.client import DwxClient
from brokers.dwx.file_watcher import WatchedTerminal
from brokers.dwx.parse import Snapshot
from brokers.types import CloseCause, OrderReport, OrderType, ReportKind
from tests.dwx.factories import Account, allow, run
from tests.dwx.waiting import event_after, is_exit, wait_for_event
from tests.until import until_async


@pytest.mark.parametrize("zone", ["UTC+2", "UTC-9", "UTC+11"])  # also if the setting is wrong
@pytest.mark.parametrize(
    ("mark", "cause"), [("[sl]", CloseCause.STOP_LOSS), ("", CloseCause.EXTERNAL)]
)
def test_external_exit_is_reported(
    account: Account, mark: str, cause: CloseCause, zone: str
) -> None:
    entry = account.buy()
    account.change_settings(server_zone=zone)
    event = event_after(
        account, lambda: account.terminal.simulate("end", ticket=1001, mark=mark), is_exit
    )
    assert (event.kind, event.close_cause) == (ReportKind.FILLED, cause)
    assert event.client_order_id == entry.client_order_id
    assert event.broker_position_id == entry.broker_position_id
    assert event.fills[0].broker_fill_id == "1001:out"
    run(account.adapter.acknowledge([event.event_id]))
    assert event.event_id not in {one.event_id for one in run(account.adapter.events(100))}


def test_fill_of_working_order_is_reported_without_a_command(account: Account) -> None:
    order = account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    commands: list[int] = []

    def fill() -> None:
        commands.append(len(account.terminal.commands()))
        account.terminal.simulate("trigger", ticket=1001)

    event = event_after(account, fill, lambda one: bool(one.fills))
    assert event.client_order_id == order.client_order_id
    assert event.fills[0].broker_fill_id == "1001:in"
    assert len(account.terminal.commands()) == commands[0]


@pytest.mark.parametrize(
    ("mark", "kind"),
    [("[expiration]", ReportKind.EXPIRED), ("cancelled", ReportKind.CANCELLED)],
)
def test_end_of_working_order_is_reported(account: Account, mark: str, kind: ReportKind) -> None:
    order = account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    account.terminal.fault(rewrite_comment="")
    event = event_after(
        account, lambda: account.terminal.simulate("end", ticket=1001, mark=mark), lambda one: True
    )
    assert (event.kind, event.client_order_id) == (kind, order.client_order_id)


def test_partial_close_by_hand_is_reported(account: Account) -> None:
    entry = account.buy()
    event = event_after(
        account, lambda: account.terminal.simulate("end", ticket=1001, mark="", lots=0.04), is_exit
    )
    assert event.fills[0].quantity == 4000
    assert event.broker_position_id == entry.broker_position_id


def test_tickets_of_others_are_not_reported(account: Account) -> None:
    def trade() -> None:
        account.terminal.simulate("order", symbol="EURUSD", lots=0.3, type="buy")
        account.terminal.simulate("end", ticket=1001, mark="")
        account.terminal.simulate("end", ticket=1002, mark="[tp]")

    account.terminal.simulate("order", symbol="EURUSD", lots=0.3, type="buy")
    entry = account.buy()
    event = event_after(account, trade, is_exit)
    assert event.client_order_id == entry.client_order_id
    assert {one.client_order_id for one in run(account.adapter.events(100))} == {
        entry.client_order_id
    }


def test_exit_of_position_opened_since_last_poll_is_reported(account: Account) -> None:
    """The reply reported the entry. Only the watcher can report the stop."""
    request = account.order()

    async def listen() -> OrderReport:
        await account.adapter.connect(account.spec)
        watched = account.adapter._watch._watched["c1"]
        await until_async(lambda: watched.mark is not None)
        watched.since += timedelta(days=1)  # by the clocks it is too old to be reported
        watched.not_before = float("inf")  # no poll
        await account.adapter.submit(account.spec, request, lambda _: None)
        await asyncio.to_thread(account.terminal.simulate, "end", ticket=1001, mark="[sl]")
        watched.not_before = 0.0
        return await wait_for_event(account, is_exit)

    assert run(listen()).client_order_id == request.client_order_id


def test_exit_right_before_first_poll_is_reported(account: Account) -> None:
    account.buy()
    run(account.adapter.disconnect())
    account.terminal.simulate("end", ticket=1001, mark="[sl]")

    async def listen() -> OrderReport:
        await account.adapter.connect(account.spec)
        return await wait_for_event(account, is_exit)

    assert run(listen()).fills[0].broker_fill_id == "1001:out"


def test_fill_is_reported_before_terminals_without_orders_are_checked(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listen() -> OrderReport:
        await account.adapter.connect(account.spec)
        [watched] = account.adapter._watch._watched.values()
        await until_async(lambda: watched.mark is not None and not watched.is_busy)
        monkeypatch.setattr(file_watcher, "POLL_SECONDS", 3600)
        rounds = len(checks)  # a pause that has begun may still be of the usual length
        await until_async(lambda: len(checks) > rounds)
        limit = account.order(order_type=OrderType.LIMIT, limit_price=D("1.05"))
        await account.adapter.submit(account.spec, limit, allow)
        await asyncio.to_thread(account.terminal.simulate, "trigger", ticket=1001)
        return await wait_for_event(account, lambda one: bool(one.fills))

    checks = counted_checks(monkeypatch)
    assert run(listen()).fills[0].broker_fill_id == "1001:in"


def test_terminal_with_nothing_open_is_checked_rarely(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def watch() -> None:
        await account.adapter.connect(account.spec)
        [watched] = account.adapter._watch._watched.values()
        await until_async(lambda: watched.mark is not None and not watched.is_busy)
        before, began, rounds = watched.before, time.monotonic(), len(checks)
        await until_async(lambda: watched.before != before)  # it is written each second
        most = 2 + (time.monotonic() - began) / file_watcher.POLL_SECONDS
        assert len(checks) - rounds <= most

    checks = counted_checks(monkeypatch)
    run(watch())


def counted_checks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the number of terminals of each check from now on."""
    checks: list[int] = []
    real = file_watcher._changed_terminals

    def counted(watched: list[WatchedTerminal], now: float) -> list[WatchedTerminal]:
        checks.append(len(watched))
        return real(watched, now)

    monkeypatch.setattr(file_watcher, "_changed_terminals", counted)
    return checks


def test_unreadable_terminal_is_polled_again(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_watcher, "RETRY_SECONDS", (0.1, 0.2))
    account.buy()
    account.shorten_timeouts("answer_seconds", "take_seconds")

    async def listen() -> OrderReport:
        await account.adapter.connect(account.spec)
        await asyncio.to_thread(account.terminal.fault, ignore_history_requests=True)
        await asyncio.to_thread(account.terminal.simulate, "end", ticket=1001, mark="[sl]")
        await until_async(lambda: account.adapter._watch._watched["c1"].not_before > 0)
        await asyncio.to_thread(account.terminal.fault)
        account.restore_timeouts()
        return await wait_for_event(account, is_exit)

    assert run(listen()).fills[0].broker_fill_id == "1001:out"


def test_history_read_by_a_call_is_not_requested_again(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll during an exit finds its ticket gone, as the exit does."""
    monkeypatch.setattr(file_watcher, "POLL_SECONDS", 0.001)
    requests: list[int] = []

    def count() -> int:
        return sum(name == "GET_HISTORIC_TRADES" for name, _ in account.terminal.commands())

    async def trade() -> None:
        await account.adapter.connect(account.spec)
        [watched] = account.adapter._watch._watched.values()
        await until_async(lambda: watched.mark is not None and not watched.is_busy)
        requests.append(count())
        for _ in range(6):
            [entry] = await account.adapter.submit(account.spec, account.order(), allow)
            exit_request = account.exit(entry.broker_position_id)
            await account.adapter.submit(account.spec, exit_request, allow)
        await until_async(lambda: not watched.is_busy)
        requests.append(count())

    run(trade())
    assert requests[1] - requests[0] == 6


def test_rewritten_file_without_changes_is_not_parsed(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[DwxClient] = []
    incomplete: list[Path] = []
    read_if_changed = shared_files.read_if_changed

    def counted_read(path: Path, *arguments: Any) -> Any:
        signature, content = read_if_changed(path, *arguments)
        if content is None:
            incomplete.append(path)
        return signature, content

    async def latest_snapshot(client: DwxClient) -> Snapshot:
        read.append(client)
        return (await client.snapshot_with_mark())[1]

    async def watch() -> None:
        await account.adapter.connect(account.spec)
        [watched] = account.adapter._watch._watched.values()
        await until_async(lambda: watched.mark is not None and not watched.is_busy)
        monkeypatch.setattr(file_watcher, "read_if_changed", counted_read)
        monkeypatch.setattr(DwxClient, "latest_snapshot", latest_snapshot)
        for _ in range(3):  # the file was written and polled
            before = watched.before
            await until_async(lambda before=before: watched.before != before)  # type: ignore[misc]
        assert len(read) <= len(incomplete)  # an incomplete file is read again
        read.clear()
        monkeypatch.setattr(file_watcher, "MAX_READ", 10)  # a large file is read in another thread
        await until_async(lambda: read != [])
        monkeypatch.undo()
        await asyncio.to_thread(account.terminal.simulate, "account", number="999")
        # The login of another account is not reported: its poll fails.
        await until_async(lambda: watched.not_before > 0)

    run(watch())
