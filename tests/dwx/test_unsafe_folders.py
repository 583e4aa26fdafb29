"""A folder that fails, or that others can write to."""

import os
from pathlib import Path

import pytest

from brokers.base import NotSent, ReadFailed
from brokers.dwx import file_io
from brokers.dwx.adapter import create
from common.reason_codes import Code
from tests.dwx.factories import Owner, raises_outcome, run


@pytest.mark.parametrize("what", ["fillcast", "fillcast/ledger.jsonl"])
def test_a_folder_that_fails(owner: Owner, what: str) -> None:
    if what == "fillcast":
        (owner.terminal.folder / what).write_text("in the way")
    else:
        (owner.terminal.folder / what).mkdir(parents=True)
    with raises_outcome(NotSent, Code.NOT_CONNECTED) as caught:
        owner.buy()
    assert "The folder fails" in caught[0].detail
    with raises_outcome(ReadFailed):
        owner.find("abc")
    assert owner.terminal.journal() == []


@pytest.mark.parametrize("kind", ["link", "pipe", "huge"])
@pytest.mark.parametrize("name", ["DWX_Orders.txt", "fillcast.key", "fillcast/ledger.jsonl"])
def test_only_real_files_are_read_and_written(
    owner: Owner, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.buy()
    owner.restart()
    if name == "DWX_Orders.txt":
        owner.terminal.kill()  # it would write into the link
        owner.minimize_timeouts()
    path, others = owner.terminal.folder / name, owner.root / "others"
    others.write_bytes(path.read_bytes() + b"\n" * 5000)
    before = others.read_bytes()
    if kind == "huge":
        path.write_bytes(before)
        monkeypatch.setattr(file_io, "MAX_FILE_SIZE", 5000)
    else:
        path.unlink()
        path.symlink_to(others) if kind == "link" else os.mkfifo(path)
    with raises_outcome(ReadFailed) as caught:
        owner.positions()
    reasons = ("symbolic link", "is not a regular file", "larger than", "no folder of this name")
    assert any(said in caught[0].detail for said in reasons)
    with raises_outcome(NotSent):
        owner.buy()
    assert others.read_bytes() == before


def test_our_own_folder_is_no_link(owner: Owner, tmp_path: Path) -> None:
    (owner.terminal.folder / "fillcast").symlink_to(tmp_path)
    before = {*tmp_path.iterdir()}
    with raises_outcome(NotSent, Code.NOT_CONNECTED):
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
    with raises_outcome(NotSent, Code.NOT_CONNECTED) as caught:
        owner.submit(owner.exit("1001"))
    assert "did not write" in caught[0].detail
    with raises_outcome(ReadFailed):
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
    with raises_outcome(ReadFailed, Code.NOT_CONNECTED):
        run(other.instruments(owner.spec))


def test_bounds_that_cannot_be_kept(owner: Owner) -> None:
    (owner.terminal.folder / "fillcast").mkdir()
    (owner.terminal.folder / "fillcast/bounds.json").mkdir()
    assert len(run(owner.adapter.instruments(owner.spec))) == 2
