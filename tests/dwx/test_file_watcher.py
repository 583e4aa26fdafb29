"""What happens at the terminal without our asking."""

import asyncio
from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from brokers.dwx import file_watcher, shared_files
from brokers.dwx.client import DwxClient
from brokers.dwx.parse import Snapshot
from brokers.types import CloseCause, OrderReport, OrderType, ReportKind
from tests.dwx.factories import Owner, allow, run
from tests.dwx.waiting import during, left, wait_for_event, wait_until


@pytest.mark.parametrize("zone", ["UTC+2", "UTC-9", "UTC+11"])  # also where the setting is wrong
@pytest.mark.parametrize(
    ("mark", "cause"), [("[sl]", CloseCause.STOP_LOSS), ("", CloseCause.EXTERNAL)]
)
def test_an_exit_of_others_is_told(owner: Owner, mark: str, cause: CloseCause, zone: str) -> None:
    entry = owner.buy()
    owner.change_settings(server_zone=zone)
    event = during(owner, lambda: owner.terminal.simulate("end", ticket=1001, mark=mark), left)
    assert (event.kind, event.close_cause) == (ReportKind.FILLED, cause)
    assert event.client_order_id == entry.client_order_id
    assert event.broker_position_id == entry.broker_position_id
    assert event.fills[0].broker_fill_id == "1001:out"
    run(owner.adapter.acknowledge([event.event_id]))
    assert event.event_id not in {one.event_id for one in run(owner.adapter.events(100))}


def test_a_waiting_order_that_fills_is_told_without_a_command(owner: Owner) -> None:
    waits = owner.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    commands: list[int] = []

    def act() -> None:
        commands.append(len(owner.terminal.commands()))
        owner.terminal.simulate("trigger", ticket=1001)

    event = during(owner, act, lambda one: bool(one.fills))
    assert event.client_order_id == waits.client_order_id
    assert event.fills[0].broker_fill_id == "1001:in"
    assert len(owner.terminal.commands()) == commands[0]


@pytest.mark.parametrize(
    ("mark", "kind"),
    [("[expiration]", ReportKind.EXPIRED), ("cancelled", ReportKind.CANCELLED)],
)
def test_a_waiting_order_that_ends_is_told(owner: Owner, mark: str, kind: ReportKind) -> None:
    waits = owner.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    owner.terminal.fault(rewrite_comment="")
    event = during(
        owner, lambda: owner.terminal.simulate("end", ticket=1001, mark=mark), lambda one: True
    )
    assert (event.kind, event.client_order_id) == (kind, waits.client_order_id)


def test_a_part_that_its_owner_closes_is_told(owner: Owner) -> None:
    entry = owner.buy()
    event = during(
        owner, lambda: owner.terminal.simulate("end", ticket=1001, mark="", lots=0.04), left
    )
    assert event.fills[0].quantity == 4000
    assert event.broker_position_id == entry.broker_position_id


def test_what_is_not_ours_rings_for_nobody(owner: Owner) -> None:
    def act() -> None:
        owner.terminal.simulate("order", symbol="EURUSD", lots=0.3, type="buy")
        owner.terminal.simulate("end", ticket=1001, mark="")
        owner.terminal.simulate("end", ticket=1002, mark="[tp]")

    owner.terminal.simulate("order", symbol="EURUSD", lots=0.3, type="buy")
    entry = owner.buy()
    event = during(owner, act, left)
    assert event.client_order_id == entry.client_order_id
    assert {one.client_order_id for one in run(owner.adapter.events(100))} == {
        entry.client_order_id
    }


def test_what_opens_and_ends_between_two_looks_is_told(owner: Owner) -> None:
    """Its answer told the entry, and nobody would ever hear of its stop."""
    other = owner.order()

    async def listen() -> OrderReport:
        await owner.adapter.connect(owner.spec)
        watched = owner.adapter._watch._watched["c1"]
        await wait_until(lambda: watched.mark is not None)
        watched.since += timedelta(days=1)  # by the clocks it is too old to be told
        watched.not_before = float("inf")  # nobody looks
        await owner.adapter.submit(owner.spec, other, lambda _: None)
        await asyncio.to_thread(owner.terminal.simulate, "end", ticket=1001, mark="[sl]")
        watched.not_before = 0.0
        return await wait_for_event(owner, left)

    assert run(listen()).client_order_id == other.client_order_id


def test_what_happened_right_before_the_first_look_is_told(owner: Owner) -> None:
    owner.buy()
    run(owner.adapter.disconnect())
    owner.terminal.simulate("end", ticket=1001, mark="[sl]")

    async def listen() -> OrderReport:
        await owner.adapter.connect(owner.spec)
        return await wait_for_event(owner, left)

    assert run(listen()).fills[0].broker_fill_id == "1001:out"


def test_a_terminal_that_cannot_be_read_is_looked_at_again(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_watcher, "RETRY_SECONDS", (0.1, 0.2))
    owner.buy()
    owner.shorten_timeouts("answer_seconds", "take_seconds")

    async def listen() -> OrderReport:
        await owner.adapter.connect(owner.spec)
        await asyncio.to_thread(owner.terminal.fault, ignore_history_requests=True)
        await asyncio.to_thread(owner.terminal.simulate, "end", ticket=1001, mark="[sl]")
        await wait_until(lambda: owner.adapter._watch._watched["c1"].not_before > 0)
        await asyncio.to_thread(owner.terminal.fault)
        owner.restore_timeouts()
        return await wait_for_event(owner, left)

    assert run(listen()).fills[0].broker_fill_id == "1001:out"


def test_what_a_call_of_ours_has_asked_for_is_not_asked_again(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that comes while an exit is under way sees its ticket gone, as the exit does."""
    monkeypatch.setattr(file_watcher, "POLL_SECONDS", 0.001)
    asked: list[int] = []

    def count() -> int:
        return sum(name == "GET_HISTORIC_TRADES" for name, _ in owner.terminal.commands())

    async def trade() -> None:
        await owner.adapter.connect(owner.spec)
        [one] = owner.adapter._watch._watched.values()
        await wait_until(lambda: one.mark is not None and not one.is_busy)
        asked.append(count())
        for _ in range(6):
            [entry] = await owner.adapter.submit(owner.spec, owner.order(), allow)
            exit = owner.exit(entry.broker_position_id)
            await owner.adapter.submit(owner.spec, exit, allow)
        await wait_until(lambda: not one.is_busy)
        asked.append(count())

    run(trade())
    assert asked[1] - asked[0] == 6


def test_what_is_written_each_second_and_says_nothing_new_costs_one_look_at_the_file(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[DwxClient] = []
    torn: list[Path] = []
    look = shared_files.read_if_changed

    def looked(path: Path, *how: Any) -> Any:
        at, found = look(path, *how)
        if found is None:
            torn.append(path)
        return at, found

    async def latest_snapshot(client: DwxClient) -> Snapshot:
        read.append(client)
        return (await client.snapshot_with_mark())[1]

    async def watching() -> None:
        await owner.adapter.connect(owner.spec)
        [one] = owner.adapter._watch._watched.values()
        await wait_until(lambda: one.mark is not None and not one.is_busy)
        monkeypatch.setattr(file_watcher, "read_if_changed", looked)
        monkeypatch.setattr(DwxClient, "latest_snapshot", latest_snapshot)
        for _ in range(3):  # it was written, and we have looked
            before = one.before
            await wait_until(lambda before=before: one.before != before)  # type: ignore[misc]
        assert len(read) <= len(torn)  # what was just being written is read again
        read.clear()
        monkeypatch.setattr(file_watcher, "MAX_READ", 10)  # a large one is read beside the others
        await wait_until(lambda: read != [])
        monkeypatch.undo()
        monkeypatch.setattr(DwxClient, "latest_snapshot", latest_snapshot)
        read.clear()
        await asyncio.to_thread(owner.terminal.simulate, "account", number="999")
        await wait_until(lambda: one.not_before > 0)  # nothing is told of somebody else's
        assert read != []

    run(watching())
