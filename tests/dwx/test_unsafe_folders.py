"""A folder that fails, or that others can write to."""

import os
from pathlib import Path

import pytest

from brokers.base import NotSent, ReadFailed
from brokers.dwx import file_io
from brokers.dwx.adapter import create
from common.reason_codes import Code
from tests.dwx.factories import Account, raises_outcome, run


@pytest.mark.parametrize("name", ["fillcast", "fillcast/ledger.jsonl"])
def test_failing_folder_means_not_sent(account: Account, name: str) -> None:
    if name == "fillcast":
        (account.terminal.folder / name).write_text("in the way")
    else:
        (account.terminal.folder / name).mkdir(parents=True)
    with raises_outcome(NotSent, Code.NOT_CONNECTED) as caught:
        account.buy()
    assert "The folder fails" in caught[0].detail
    with raises_outcome(ReadFailed):
        account.find("abc")
    assert account.terminal.journal() == []


@pytest.mark.parametrize("file_type", ["link", "pipe", "huge"])
@pytest.mark.parametrize("name", ["DWX_Orders.txt", "fillcast.key", "fillcast/ledger.jsonl"])
def test_only_regular_files_are_read_and_written(
    account: Account, name: str, file_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.buy()
    account.restart()
    if name == "DWX_Orders.txt":
        account.terminal.kill()  # else it would write into the link
        account.minimize_timeouts()
    path, target = account.terminal.folder / name, account.root / "others"
    target.write_bytes(path.read_bytes() + b"\n" * 5000)
    before = target.read_bytes()
    if file_type == "huge":
        path.write_bytes(before)
        monkeypatch.setattr(file_io, "MAX_FILE_SIZE", 5000)
    else:
        path.unlink()
        path.symlink_to(target) if file_type == "link" else os.mkfifo(path)
    with raises_outcome(ReadFailed) as caught:
        account.positions()
    reasons = ("symbolic link", "is not a regular file", "larger than", "no folder of this name")
    assert any(reason in caught[0].detail for reason in reasons)
    with raises_outcome(NotSent):
        account.buy()
    assert target.read_bytes() == before


def test_own_folder_must_not_be_a_link(account: Account, tmp_path: Path) -> None:
    (account.terminal.folder / "fillcast").symlink_to(tmp_path)
    before = {*tmp_path.iterdir()}
    with raises_outcome(NotSent, Code.NOT_CONNECTED):
        account.buy()
    assert {*tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "line",
    ['{"number": 9, "what": "open"}', '{"number": 9, "what": "open", "lots": "x"}',
     '{"number": 9, "what": "open", "lots": "1", "new": 1}'],
)  # fmt: skip
def test_malformed_journal_lines_block_orders(account: Account, line: str) -> None:
    account.buy()
    with (account.terminal.folder / "fillcast/ledger.jsonl").open("a") as file:
        file.write(f"\n{line}")
    with raises_outcome(NotSent, Code.NOT_CONNECTED) as caught:
        account.submit(account.exit("1001"))
    assert "did not write" in caught[0].detail
    with raises_outcome(ReadFailed):
        account.positions()


def test_journal_lines_without_number_are_skipped(account: Account) -> None:
    entry = account.buy()
    with (account.terminal.folder / "fillcast/ledger.jsonl").open("a") as file:
        file.write('\n{"number": "9"}\n[]\n{"end": "refused"}')
    account.restart()
    assert account.find(entry.client_order_id) == [entry]


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"EURUSD": 5}', '{"EURUSD": ["x", "y"]}', '{"DAX": []}']
)
def test_unreadable_bounds_fail_instruments(account: Account, content: str) -> None:
    account.buy()
    (account.terminal.folder / "fillcast/bounds.json").write_text(content)
    other = create(str(account.root))
    with raises_outcome(ReadFailed, Code.NOT_CONNECTED):
        run(other.instruments(account.spec))


def test_instruments_are_read_when_bounds_cannot_be_stored(account: Account) -> None:
    (account.terminal.folder / "fillcast").mkdir()
    (account.terminal.folder / "fillcast/bounds.json").mkdir()
    assert len(run(account.adapter.instruments(account.spec))) == 2
