"""Folders of servers in memory: a killed run leaves none, and a running one keeps its own."""

import fcntl
from pathlib import Path

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
