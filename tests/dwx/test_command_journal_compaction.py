"""Compaction of the command journal drops nothing that is open, or may be."""

import os
import time
from collections.abc import Iterable
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from brokers.dwx import command_journal, file_io
from brokers.dwx.command_journal import CommandJournal
from brokers.dwx.sent_commands import (
    CLOSE,
    GONE,
    OPEN,
    REFUSED,
    UNSENT,
    CommandFilter,
    OpenSnapshot,
    OpenSnapshots,
    SentCommand,
    client_order_ids,
    exits_by_ticket,
    without_ended,
)
from brokers.record_cache import RecordCache
from brokers.types import OrderType
from tests.dwx.factories import Account

NOW = 1_000_000_000.0
DAY = 86_400.0


def sent_command(number: int, **fields: Any) -> SentCommand:
    values = {
        "action": OPEN, "client_order_id": f"abc{number:014}0", "magic": number, "at": NOW - DAY,
        "symbol": "EURUSD", "lots": D("0.1"), **fields,
    }  # fmt: skip
    return SentCommand(number=number, **values)


def kept_numbers(
    commands: list[SentCommand], open_now: CommandFilter, maximum: int = 2
) -> list[int]:
    return [
        one.number
        for one in without_ended(commands, OpenSnapshot(NOW, open_now), NOW - 400 * DAY, maximum)
    ]


def test_commands_of_open_tickets_stay_at_any_age_and_count() -> None:
    old = NOW - 500 * DAY
    commands = [
        sent_command(1, at=old),
        sent_command(2, at=old, magic=1, action=CLOSE, ticket=1000, root=1000),
        sent_command(3, at=old),
        sent_command(4, at=old, magic=0, action=CLOSE, ticket=77, root=70),
        *(sent_command(n) for n in range(5, 9)),
    ]
    open_now = CommandFilter(frozenset({0, 1}), frozenset({1001, 77}))
    assert kept_numbers(commands, open_now) == [1, 2, 4]
    assert kept_numbers(commands, open_now, maximum=5) == [1, 2, 4, 7, 8]
    assert kept_numbers(commands, CommandFilter()) == [7, 8]


def test_commands_of_possibly_open_tickets_stay() -> None:
    commands = [
        sent_command(1, at=NOW - 9),
        sent_command(2, magic=1, outcome=GONE),  # partly filled; the remainder has ended
        sent_command(3, at=NOW - 9, magic=6, action=CLOSE, ticket=60),
        *(sent_command(n) for n in (4, 5, 6)),
    ]
    assert kept_numbers(commands, CommandFilter()) == [1, 2, 3, 6]


def test_commands_without_effect_are_dropped_first() -> None:
    commands = [
        sent_command(1),
        *(sent_command(n, magic=1, action=CLOSE, outcome=REFUSED) for n in (2, 3, 4)),
    ]
    commands += [sent_command(5, outcome=UNSENT, at=NOW), sent_command(6)]
    assert kept_numbers(commands, CommandFilter(frozenset({1})), maximum=3) == [1, 5, 6]


def test_open_tickets_count_after_ten_minutes_of_snapshots() -> None:
    snapshots, recent = OpenSnapshots(), []
    for at, magic in ((NOW, 1), (NOW + 1, 2), (NOW + 599, 3)):
        snapshots.record_open(OpenSnapshot(at, CommandFilter(frozenset({magic}))))
        recent.append(snapshots.recent)
        assert snapshots.last == OpenSnapshot(at, CommandFilter(frozenset({magic})))
    assert recent == [None] * 3
    snapshots.record_open(OpenSnapshot(NOW + 600, CommandFilter(frozenset({4}), frozenset({40}))))
    snapshots.record_open(
        OpenSnapshot(NOW + 601, CommandFilter(frozenset({5}), ids=frozenset({"queried"})))
    )
    assert snapshots.recent == OpenSnapshot(
        NOW, CommandFilter(frozenset({1, 4, 5}), frozenset({40}))
    )
    snapshots.record_open(OpenSnapshot(NOW, CommandFilter()))  # set back: the ten minutes restart
    assert snapshots.recent is None


def write(path: Path, commands: Iterable[SentCommand]) -> None:
    file_io.append(
        path, b"".join(command_journal._line(command_journal._as_json(one)) for one in commands)
    )


def file_state(path: Path) -> tuple[int, int, int]:
    """Return what changes when the file is written, but not when it is read."""
    stat = os.stat(path)
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def test_nothing_is_dropped_before_enough_snapshots(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    journal = CommandJournal(path, RecordCache())
    write(path, (sent_command(n, at=time.time() - DAY) for n in range(1, 10_002)))
    before = file_state(path)
    assert not journal.tidy()
    journal.about(CommandFilter(frozenset({1})))
    assert not journal.tidy()
    assert [journal.knows_what_is_open] == [False]
    assert file_state(path) == before
    journal._snapshots.record_open(OpenSnapshot(time.time() + 700, CommandFilter(frozenset({1}))))
    assert journal.knows_what_is_open
    assert journal.tidy()
    assert [one.number for one in journal.commands()][:2] == [1, 1003]
    assert len(journal.commands()) == 9_000
    assert journal.last_number() == 10_001


def check_compaction_keeps_open_tickets(
    account: Account, monkeypatch: pytest.MonkeyPatch, *order_types: OrderType
) -> None:
    """Check that a compaction to 2 commands keeps those of open tickets.

    20 newer commands are in the journal beside those of a position, of its exit and of working
    orders of the given types. The process that compacts it has just started.
    """
    account.terminal.fault(rewrite_comment="MANAGED")  # only the journal has their client order ids
    entry = account.buy()
    working = [
        account.buy(order_type=one, limit_price=D("1.05")).client_order_id for one in order_types
    ]
    account.terminal.fault()
    exit_request = account.exit(entry.broker_position_id, "4000")
    account.submit(exit_request)
    path = account.terminal.folder / "fillcast/ledger.jsonl"
    sent = CommandJournal(path, RecordCache()).commands()
    path.unlink()
    old = [SentCommand(**{**as_values(one), "at": one.at - 500 * DAY}) for one in sent]
    others = [sent_command(one, at=time.time() - DAY) for one in range(900_001, 900_021)]
    write(path, [*old, *others, sent_command(1_000_000_000, at=time.time() - DAY, outcome=REFUSED)])
    monkeypatch.setattr(command_journal, "COUNT_ABOVE", 10)
    monkeypatch.setattr(command_journal, "REWRITE_ABOVE", 10)
    monkeypatch.setattr(command_journal, "MAX_COMMANDS", 2)
    account.restart()

    def known_positions() -> list[str]:
        return [one.client_order_id for one in account.positions()]

    assert known_positions() == [entry.client_order_id]
    [report] = account.find(exit_request.client_order_id) or []
    assert report.fills[0].quantity == 4000
    assert len(CommandJournal(path, RecordCache()).commands()) == len(sent) + 21  # postponed
    [terminal] = account.adapter._terminals.values()
    assert terminal.journal._snapshots.last is not None
    monkeypatch.setattr("brokers.dwx.sent_commands.VISIBLE_WITHIN_SECONDS", 0.0)
    assert known_positions() == [entry.client_order_id]  # the second snapshot
    assert account.find(exit_request.client_order_id) == [
        report
    ]  # its command compacts the journal
    expected = {entry.client_order_id, exit_request.client_order_id, *working}
    kept = CommandJournal(path, RecordCache()).commands()
    assert {one.client_order_id for one in kept} == expected
    assert set(client_order_ids(kept).values()) == expected - {exit_request.client_order_id}
    account.restart()
    assert known_positions() == [entry.client_order_id]
    [report] = account.find(exit_request.client_order_id) or []
    assert report.client_order_id == exit_request.client_order_id
    assert all(account.find(one) for one in working)


def as_values(command: SentCommand) -> dict[str, Any]:
    return {name: getattr(command, name) for name in command.__slots__}


def test_open_tickets_of_metatrader_4_are_known_after_compaction(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_compaction_keeps_open_tickets(account, monkeypatch, OrderType.LIMIT)


def test_open_tickets_of_metatrader_5_are_known_after_compaction(
    mt5_account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_compaction_keeps_open_tickets(mt5_account, monkeypatch, OrderType.LIMIT)


def test_command_with_last_reserved_number_keeps_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compaction writes that number after the commands; a command may have the same one."""
    monkeypatch.setattr(command_journal, "COUNT_ABOVE", 0)
    monkeypatch.setattr(command_journal, "REWRITE_ABOVE", 0)
    journal, now = CommandJournal(tmp_path / "ledger.jsonl", RecordCache(100)), time.time()
    journal.write(sent_command(1, at=now))
    journal.write(sent_command(2, at=now, magic=1, action=CLOSE, ticket=1000))
    open_now = CommandFilter(frozenset({1}), frozenset({1000}))
    for at in (now - 2000, now - 1000, now):
        journal._snapshots.record_open(OpenSnapshot(at, open_now))
    journal.reserve(2)
    assert journal.tidy()
    again = CommandJournal(tmp_path / "ledger.jsonl", RecordCache(100))
    assert [(one.number, one.outcome) for one in again.commands()] == [(1, ""), (2, "")]
    assert 1000 in exits_by_ticket(again.commands())
    assert again.last_number() == 2
