"""What we have asked a terminal for, on disk."""

import time
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from brokers.dwx import command_journal, file_io, sent_commands
from brokers.dwx.command_journal import CommandJournal
from brokers.dwx.sent_commands import CLOSE, OPEN, CommandFilter, OpenSnapshot, SentCommand
from tests.dwx.file_samples import CID


def intent(number: int, **said: Any) -> SentCommand:
    values = {"what": OPEN, "client_order_id": CID, "magic": 7, "at": time.time(), **said}
    return SentCommand(number=number, symbol="EURUSD", lots=D("0.1"), **values)


def has_looked(book: CommandJournal, open_now: CommandFilter | None = None) -> None:
    """Have had looks at what is open for long enough."""
    for ago in (700, 0):
        book._snapshots.record_open(OpenSnapshot(time.time() - ago, open_now or CommandFilter()))


def test_a_ledger_that_is_too_long_forgets_what_had_no_effect_first(
    tmp_path: Path, monkeypatch: Any
) -> None:
    book = CommandJournal(tmp_path / "ledger.jsonl")
    for number in range(1, 7):
        book.write(intent(number, at=time.time() - 3600 + number))
    for number in (4, 5):
        book.end(number, "refused")
    monkeypatch.setattr(command_journal, "COUNT_ABOVE", 10)
    has_looked(book)
    book.tidy()
    assert len(book.intents()) == 6
    monkeypatch.setattr(command_journal, "MAX_COMMANDS", 3)
    book.tidy()
    assert [one.number for one in book.intents()] == [2, 3, 6]
    assert book.last_number() == 6


def test_the_ledger_forgets_only_what_is_old(tmp_path: Path, monkeypatch: Any) -> None:
    book = CommandJournal(tmp_path / "ledger.jsonl")
    book.tidy()  # there is none yet
    assert 0 <= book.last_number() < 1_000_000_000
    old, new = intent(1, at=0.0), intent(2, what=CLOSE, ticket=5)
    for one in (old, new):
        book.write(one)
    book.end(9, "refused")  # of nothing that is known
    book.end(2, "refused")
    book.reserve(3000)
    assert book.last_number() == 3000
    assert sent_commands.client_order_ids(book.intents()) == {7: CID}
    assert sent_commands.exits_by_ticket(book.intents()) == {}
    monkeypatch.setattr(command_journal, "COUNT_ABOVE", 10)
    monkeypatch.setattr(command_journal, "REWRITE_ABOVE", 10)
    has_looked(book)
    book.tidy()
    assert [(one.number, one.end) for one in book.intents()] == [(2, "refused")]
    assert book.last_number() == 3000


def test_only_what_is_new_in_the_ledger_is_read(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "ledger.jsonl"
    book, read = CommandJournal(path), 0
    real = file_io.read

    def counted(path: Path, begin: int = 0) -> bytes:
        nonlocal read
        raw = real(path, begin)
        read += len(raw)
        return raw

    for number in range(1, 201):
        book.write(intent(number))
    monkeypatch.setattr(file_io, "read", counted)
    assert len(book.intents()) == 200
    read, size = 0, path.stat().st_size
    for number in range(201, 211):
        book.write(intent(number))
        assert [one.number for one in book.intents()][-1] == number
    assert read < size / 4


def test_the_ledger_is_read_anew_where_it_is_another(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    book = CommandJournal(path)
    assert book.intents() == []
    for number in (1, 2):
        book.write(intent(number))
        assert len(book.intents()) == number
    backup = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'\n{"number": 3, "en')  # a torn line
    assert [one.number for one in book.intents()] == [1, 2]
    book.end(2, "refused")
    assert [one.end for one in book.intents()] == ["", "refused"]
    path.write_bytes(backup)
    assert [one.end for one in book.intents()] == ["", ""]
    path.write_bytes(backup.replace(b'"number": 1', b'"number": 8') + b"\n" + b" " * 5_000)
    assert [one.number for one in book.intents()] == [8, 2]
    path.unlink()
    assert book.intents() == []
    path.write_text('{"number": 1, "what": "open"}')
    for _ in range(2):
        with pytest.raises(OSError, match="did not write"):
            book.intents()
