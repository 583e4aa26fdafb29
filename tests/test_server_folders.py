"""Folders of servers in memory: a killed run leaves none, and a running one keeps its own."""

import fcntl
import tempfile
from io import BufferedWriter
from pathlib import Path

import pytest

from tests.server_folders import LOCK, remove_left_behind, server_folder


def test_folder_is_removed_at_its_end() -> None:
    with server_folder("fillcast-folders-") as folder:
        (folder / "data").mkdir()
    assert not folder.exists()


def test_only_folders_of_ended_processes_are_removed(tmp_path: Path) -> None:
    left, used, others = (tmp_path / name for name in ("fillcast-a", "fillcast-b", "other"))
    for folder in (left, used, others):
        folder.mkdir()
        (folder / LOCK).touch()
    with (used / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        remove_left_behind(tmp_path)
    assert [folder.exists() for folder in (left, used, others)] == [False, True, True]


def test_folder_that_is_just_made_is_not_removed_by_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock

    def lock_late(file: BufferedWriter, operation: int) -> None:
        monkeypatch.undo()
        remove_left_behind(tmp_path)
        lock(file, operation)

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(fcntl, "flock", lock_late)
    with server_folder("fillcast-folders-") as folder:
        assert folder.parent == tmp_path
        remove_left_behind(tmp_path)
        (folder / "data").mkdir()
