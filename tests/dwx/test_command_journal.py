"""The journal of commands to a terminal, on disk."""

import json
import time
from dataclasses import replace
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from brokers.dwx import command_journal, file_io, sent_commands
from brokers.dwx.command_journal import CommandJournal
from brokers.dwx.sent_commands import (
    CLOSE,
    OPEN,
    REFUSED,
    CommandFilter,
    OpenSnapshot,
    SentCommand,
)
from tests.dwx.file_samples import CID


def sent_command(number: int, **fields: Any) -> SentCommand:
    values = {"action": OPEN, "client_order_id": CID, "magic": 7, "at": time.time(), **fields}
    return SentCommand(number=number, symbol="EURUSD", lots=D("0.1"), **values)


def record_snapshots(journal: CommandJournal, open_now: CommandFilter | None = None) -> None:
    """Record snapshots of what is open, over more than ten minutes."""
    for age in (700, 0):
        journal._snapshots.record_open(OpenSnapshot(time.time() - age, open_now or CommandFilter()))


def test_long_journal_drops_commands_without_effect_first(tmp_path: Path, monkeypatch: Any) -> None:
    journal = CommandJournal(tmp_path / "ledger.jsonl")
    for number in range(1, 7):
        journal.write(sent_command(number, at=time.time() - 3600 + number))
    for number in (4, 5):
        journal.end(number, "refused")
    monkeypatch.setattr(command_journal, "COUNT_ABOVE", 10)
    record_snapshots(journal)
    journal.tidy()
    assert len(journal.commands()) == 6
    monkeypatch.setattr(command_journal, "MAX_COMMANDS", 3)
    journal.tidy()
    assert [one.number for one in journal.commands()] == [2, 3, 6]
    assert journal.last_number() == 6


def test_journal_has_the_deals_that_were_reported(tmp_path: Path, monkeypatch: Any) -> None:
    journal = CommandJournal(tmp_path / "ledger.jsonl")
    journal.write(sent_command(1))
    journal.write(sent_command(2, action=CLOSE, ticket=5, after=40))
    first, second = journal.commands()
    unknown = sent_command(9, deals=(44,))
    journal.store_deals([replace(first, deals=(41,)), replace(second, deals=(42, 43)), unknown])
    journal.store_deals([replace(first, deals=(41, 45))])
    journal.end(1, "placed")
    monkeypatch.setattr(command_journal, "COUNT_ABOVE", 10)
    monkeypatch.setattr(command_journal, "REWRITE_ABOVE", 10)
    for _ in range(2):
        for read in (journal, CommandJournal(tmp_path / "ledger.jsonl")):
            known = [(one.after, one.deals, one.outcome) for one in read.commands()]
            assert known == [(-1, (41, 45), "placed"), (40, (42, 43), "")]
        record_snapshots(journal)
        assert journal.tidy()


def test_older_version_can_read_a_command_with_later_fields(tmp_path: Path) -> None:
    """It takes no other fields than these, and from other lines the outcome, of the last one."""
    journal = CommandJournal(tmp_path / "ledger.jsonl")
    refused = sent_command(1, action=CLOSE, after=5, outcome=REFUSED)
    journal.write(refused)
    journal.store_deals([replace(refused, deals=(6,))])
    first, second, third = map(json.loads, (tmp_path / "ledger.jsonl").read_text().split("\n")[1:])
    assert set(first) == {
        "number", "at", "what", "client_order_id", "magic", "symbol", "lots", "ticket", "root",
        "end", "account", "expires",
    }  # fmt: skip
    assert second == {"number": 1, "after": 5, "deals": [], "end": REFUSED}
    assert third == {"number": 1, "deals": [6], "end": REFUSED}
    file_io.append(tmp_path / "ledger.jsonl", command_journal._line({**first, "number": 2}))
    assert [(one.after, one.deals) for one in journal.commands()] == [(5, (6,)), (-1, ())]


def test_journal_drops_only_old_commands(tmp_path: Path, monkeypatch: Any) -> None:
    journal = CommandJournal(tmp_path / "ledger.jsonl")
    journal.tidy()  # the file does not exist yet
    assert 0 <= journal.last_number() < 1_000_000_000
    old, recent = sent_command(1, at=0.0), sent_command(2, action=CLOSE, ticket=5)
    for command in (old, recent):
        journal.write(command)
    journal.end(9, "refused")  # of an unknown command
    journal.end(2, "refused")
    journal.reserve(3000)
    assert journal.last_number() == 3000
    assert sent_commands.client_order_ids(journal.commands()) == {7: CID}
    assert sent_commands.exits_by_ticket(journal.commands()) == {}
    monkeypatch.setattr(command_journal, "COUNT_ABOVE", 10)
    monkeypatch.setattr(command_journal, "REWRITE_ABOVE", 10)
    record_snapshots(journal)
    journal.tidy()
    assert [(one.number, one.outcome) for one in journal.commands()] == [(2, "refused")]
    assert journal.last_number() == 3000


def test_only_new_lines_of_journal_are_read(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "ledger.jsonl"
    journal, read = CommandJournal(path), 0
    real = file_io.read

    def counted(path: Path, begin: int = 0) -> bytes:
        nonlocal read
        raw = real(path, begin)
        read += len(raw)
        return raw

    for number in range(1, 201):
        journal.write(sent_command(number))
    monkeypatch.setattr(file_io, "read", counted)
    assert len(journal.commands()) == 200
    read, size = 0, path.stat().st_size
    for number in range(201, 211):
        journal.write(sent_command(number))
        assert [one.number for one in journal.commands()][-1] == number
    assert read < size / 4


def test_changed_journal_is_read_completely(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    journal = CommandJournal(path)
    assert journal.commands() == []
    for number in (1, 2):
        journal.write(sent_command(number))
        assert len(journal.commands()) == number
    backup = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'\n{"number": 3, "en')  # an incomplete line
    assert [one.number for one in journal.commands()] == [1, 2]
    journal.end(2, "refused")
    assert [one.outcome for one in journal.commands()] == ["", "refused"]
    path.write_bytes(backup)
    assert [one.outcome for one in journal.commands()] == ["", ""]
    path.write_bytes(backup.replace(b'"number": 1', b'"number": 8') + b"\n" + b" " * 5_000)
    assert [one.number for one in journal.commands()] == [8, 2]
    path.unlink()
    assert journal.commands() == []
    path.write_text('{"number": 1, "what": "open"}')
    for _ in range(2):
        with pytest.raises(OSError, match="did not write"):
            journal.commands()
