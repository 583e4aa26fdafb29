"""The file that proves which orders a dead process has not sent."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.installation import ROOT
from execution.dispatch import send_journal
from execution.dispatch.send_journal import RECORDS, DeadJournal, SendJournal, dead_journals
from tests.examples import examples

# A process that records each line of its input, and answers, until it is killed. It imports nothing
# but the journal: with all of the engine, its start takes ten times as long.
PROGRAM = """
import sys
from pathlib import Path
from execution.dispatch.send_journal import SendJournal
journal = SendJournal.open(Path(sys.argv[1]), sys.argv[2])
print("open", flush=True)
for line in sys.stdin:
    journal.record(*map(int, line.split()))
    print("recorded", flush=True)
"""


class Sender:
    """A real process with a journal."""

    def __init__(self, folder: Path, name: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), name],
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answered()

    def _answered(self) -> None:
        assert self.popen.stdout is not None
        assert self.popen.stdout.readline()

    def record(self, order_id: int, fence: int) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(f"{order_id} {fence}\n")
        self.popen.stdin.flush()
        self._answered()

    def end(self, number: int = signal.SIGKILL) -> None:
        self.popen.send_signal(number)
        if number == signal.SIGKILL:
            self.popen.wait(60)


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    made = Sender(tmp_path, "host-1")
    yield made
    made.end()


def read(folder: Path) -> list[DeadJournal]:
    return list(dead_journals(folder))


def test_killed_process_leaves_what_it_had_begun_to_send(sender: Sender, tmp_path: Path) -> None:
    sender.record(7, 1)
    sender.record(8, 3)
    assert read(tmp_path) == []  # it lives
    sender.end(signal.SIGSTOP)
    assert read(tmp_path) == []  # and may go on
    sender.end()
    (journal,) = read(tmp_path)
    assert (journal.process_id, set(journal.sent)) == ("host-1", {(7, 1), (8, 3)})
    assert journal.proves_unsent(9, 1)
    assert journal.proves_unsent(7, 2)  # sent before, with another fence
    assert not journal.proves_unsent(8, 3)


def test_one_reader_at_a_time(sender: Sender, tmp_path: Path) -> None:
    sender.end()
    for _ in dead_journals(tmp_path):
        assert read(tmp_path) == []
    assert len(read(tmp_path)) == 1


def test_ended_process_leaves_no_file(tmp_path: Path) -> None:
    journal = SendJournal.open(tmp_path, "host-1")
    journal.record(1, 1)
    assert read(tmp_path) == []
    journal.close()
    assert list(tmp_path.iterdir()) == []
    journal.record(2, 1)  # a late call finds no file, and breaks nothing
    journal.close()


def test_file_of_an_earlier_start_of_the_machine_proves_nothing(
    sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that loses power loses the last pages."""
    sender.end()
    monkeypatch.setattr(send_journal, "machine_start_id", lambda: "another")
    assert read(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"x", b"x" * send_journal._SIZE])
def test_damaged_file_proves_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "host-1.sends").write_bytes(content)
    assert read(tmp_path) == []


def test_full_disk_lets_orders_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    journal = SendJournal.open(tmp_path, "host-1")
    journal.record(1, 1)
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_system_without_an_id_of_its_start_records_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_journal, "machine_start_id", lambda: "")
    SendJournal.open(tmp_path, "host-1").record(1, 1)
    assert (read(tmp_path), list(tmp_path.iterdir())) == ([], [])


def abandoned(journal: SendJournal) -> None:
    """End its lock, as the death of its process does."""
    assert journal._descriptor is not None
    assert journal._pages is not None
    os.close(journal._descriptor)
    journal._pages.close()  # which has a copy of the descriptor
    journal._descriptor = journal._pages = None


def fill(journal: SendJournal, first: int, last: int) -> None:
    for order_id in range(first, last + 1):
        journal.record(order_id, 1)


def test_journal_without_space_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No record is given up: a send that it lacks would be repeated."""
    journal = SendJournal.open(tmp_path, "host-1")
    fill(journal, 1, RECORDS)
    assert len(list(tmp_path.iterdir())) == 1
    journal.record(RECORDS + 1, 1)
    assert list(tmp_path.iterdir()) == []
    assert "no space" in caplog.text
    journal.record(RECORDS + 2, 1)


def test_settled_records_give_way(tmp_path: Path) -> None:
    journal = SendJournal.open(tmp_path, "host-1")
    fill(journal, 1, RECORDS)
    unsettled = {(RECORDS - 1, 1)}
    journal.make_space(lambda: unsettled)
    fill(journal, RECORDS + 1, 2 * RECORDS - 2)
    abandoned(journal)
    (dead,) = read(tmp_path)
    assert not dead.proves_unsent(RECORDS - 1, 1)
    assert not dead.proves_unsent(2 * RECORDS - 2, 1)
    assert dead.proves_unsent(2 * RECORDS - 1, 1)


def test_unsettled_record_is_never_overwritten(tmp_path: Path) -> None:
    journal = SendJournal.open(tmp_path, "host-1")
    fill(journal, 1, RECORDS)
    journal.make_space(lambda: {(RECORDS - 1, 1)})
    fill(journal, RECORDS + 1, 2 * RECORDS - 1)
    assert list(tmp_path.iterdir()) == []


def test_settled_are_looked_for_only_when_it_is_half_full(tmp_path: Path) -> None:
    def read_database() -> set[tuple[int, int]]:
        reads.append(1)
        return set()

    reads: list[int] = []
    journal = SendJournal.open(tmp_path, "host-1")
    fill(journal, 1, RECORDS // 2)
    journal.make_space(read_database)
    assert reads == []
    fill(journal, 1, 1)
    journal.make_space(read_database)
    journal.make_space(read_database)
    assert reads == [1]
    journal.close()
    journal.make_space(read_database)
    assert reads == [1]


@settings(max_examples=examples(30))  # each one writes and reads a whole file
@given(st.lists(st.tuples(st.integers(1, 2**63 - 1), st.integers(0, 2**63 - 1)), max_size=40))
def test_every_recorded_order_is_read(records: list[tuple[int, int]]) -> None:
    with TemporaryDirectory() as folder:
        journal = SendJournal.open(Path(folder), "host-1")
        for record in records:
            journal.record(*record)
        abandoned(journal)
        (dead,) = read(Path(folder))
    assert dead.sent == frozenset(records)


def test_copy_proves_nothing(sender: Sender, tmp_path: Path) -> None:
    """Of a folder that was restored: the original may have more."""
    copy = tmp_path / "copy"
    copy.mkdir()
    sender.end()
    (copy / "host-1.sends").write_bytes((tmp_path / "host-1.sends").read_bytes())
    assert read(copy) == []
    assert len(read(tmp_path)) == 1


def test_lost_page_proves_nothing(sender: Sender, tmp_path: Path) -> None:
    """A disk that fails may give an older page back."""
    for order_id in range(1, 400):
        sender.record(order_id, 1)
    sender.end()
    with (tmp_path / "host-1.sends").open("r+b") as file:
        file.seek(4096)
        file.write(bytes(4096))
    assert read(tmp_path) == []


def test_records_beyond_a_lost_count_are_read(sender: Sender, tmp_path: Path) -> None:
    for order_id in range(1, 400):
        sender.record(order_id, 1)
    sender.end()
    with (tmp_path / "host-1.sends").open("r+b") as file:
        file.seek(send_journal._COUNT_AT)
        file.write(send_journal._COUNT.pack(2))
    (journal,) = read(tmp_path)
    assert not journal.proves_unsent(399, 1)


def test_folder_that_locks_nothing_has_no_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some shared folders grant every lock."""
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    journal = SendJournal.open(tmp_path, "host-1")
    journal.record(1, 1)
    assert list(tmp_path.iterdir()) == []


def test_reader_that_has_opened_an_ended_process_s_file_finds_nothing(tmp_path: Path) -> None:
    journal = SendJournal.open(tmp_path, "host-1")
    path = tmp_path / "host-1.sends"
    with path.open("r+b") as file:
        journal.close()
        assert send_journal._read(path, file.fileno()) is None


def test_unreadable_file_hides_no_other(sender: Sender, tmp_path: Path) -> None:
    (tmp_path / "a.sends").mkdir()
    sender.end()
    assert len(read(tmp_path)) == 1


def test_folder_that_others_can_look_into_has_no_journal(tmp_path: Path) -> None:
    """Who can write there could forge a proof."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    SendJournal.open(folder, "host-1").record(1, 1)
    assert list(folder.iterdir()) == []


def test_journal_in_a_folder_of_others_proves_nothing(sender: Sender, tmp_path: Path) -> None:
    sender.end()
    tmp_path.chmod(0o755)
    assert read(tmp_path) == []
    tmp_path.chmod(0o700)
    assert len(read(tmp_path)) == 1


def test_link_is_not_followed(sender: Sender, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    sender.end()
    (elsewhere / "host-2.sends").symlink_to(tmp_path / "host-1.sends")
    assert read(elsewhere) == []
