"""Journals are in memory, in a folder of this user, this installation and this start."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from execution.dispatch import journal_folder as folders
from execution.dispatch.journal_folder import (
    filesystem_of,
    is_in_memory,
    is_private,
    journal_root,
    machine_start_id,
    remove_left_behind,
)

ANOTHER_START = "0f0f0f0f-1111-2222-3333-444455556666"
DAY = 86_400


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Path]:
    """The only folder that counts as a tmpfs."""
    place = tmp_path / "memory"
    place.mkdir()
    monkeypatch.setattr(folders, "is_in_memory", lambda folder: folder == place)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    settings.FILLCAST_VAR = tmp_path / "var"
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    yield place
    place.chmod(0o700)


def aged(path: Path, seconds: float) -> Path:
    path.touch()
    return age(path, seconds)


def age(path: Path, seconds: float) -> Path:
    at = time.time() - seconds
    os.utime(path, (at, at))
    return path


def test_folder_is_in_memory(memory: Path) -> None:
    root = journal_root()
    assert root.parent == memory
    assert str(os.getuid()) in root.name
    root.mkdir(mode=0o700)
    assert journal_root() == root  # the same once it exists


def test_installations_of_a_machine_never_meet(
    memory: Path, tmp_path: Path, settings: Settings
) -> None:
    found = {journal_root()}
    settings.FILLCAST_INSTALLATION_TAG = "two"
    found.add(journal_root())
    settings.FILLCAST_VAR = tmp_path / "another"
    found.add(journal_root())
    assert len(found) == 3
    assert {root.parent for root in found} == {memory}


def test_folder_of_another_user_is_not_used(memory: Path, tmp_path: Path) -> None:
    root = journal_root()
    root.symlink_to(tmp_path)
    assert journal_root() == tmp_path / "var/sends"
    root.unlink()
    root.mkdir()
    root.chmod(0o770)
    assert journal_root() == tmp_path / "var/sends"


def test_without_memory_it_is_below_var(
    memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "is_in_memory", lambda folder: False)
    assert journal_root() == tmp_path / "var/sends"


def test_folder_below_var_is_used_if_it_exists(memory: Path, tmp_path: Path) -> None:
    """A volume of memory that containers share, for instance."""
    own = tmp_path / "var/sends"
    assert journal_root().parent == memory
    own.mkdir(parents=True)
    assert journal_root() == own


def test_folder_that_systemd_made_is_used(
    memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for made in ("/run/fillcast", "/run/fillcast:/run/more", "/run/more:/run/fillcast"):
        monkeypatch.setenv("RUNTIME_DIRECTORY", made)
        assert journal_root() == Path("/run/fillcast")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/a-unit-of-another-name")  # one unit's alone
    assert journal_root().parent == memory


def test_private_is_only_a_folder_of_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    assert not is_private(folder)
    folder.mkdir(mode=0o700)
    assert is_private(folder)
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert not is_private(link)
    for mode in (0o710, 0o701, 0o702, 0o740):
        folder.chmod(mode)
        assert not is_private(folder)
    file = aged(tmp_path / "file", 0)
    file.chmod(0o700)
    assert not is_private(file)


def test_file_system_is_named_as_linux_does(tmp_path: Path) -> None:
    assert filesystem_of(Path("/proc")) == "proc"
    assert not is_in_memory(Path("/proc"))
    assert filesystem_of(tmp_path / "none") == ""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / machine_start_id()).mkdir()
    (tmp_path / ANOTHER_START).mkdir()
    return tmp_path


def test_another_start_s_folder_is_removed_after_a_day(root: Path) -> None:
    foreign = root / ANOTHER_START
    aged(foreign / "host-1.sends", 2 * DAY)
    age(foreign, DAY / 2)
    remove_left_behind(root)
    assert foreign.exists()
    age(foreign, 2 * DAY)
    remove_left_behind(root)
    assert not foreign.exists()


def test_own_folder_is_kept_and_stays_new_for_others(root: Path) -> None:
    own = root / machine_start_id()
    aged(own / "host-1.sends", 2 * DAY)
    age(own, 2 * DAY)
    remove_left_behind(root)
    assert (own / "host-1.sends").exists()
    assert own.stat().st_mtime > time.time() - 60


def test_what_is_no_journal_is_kept(root: Path) -> None:
    """It may be a folder of other things, too."""
    aged(root / ANOTHER_START / "letter.txt", 2 * DAY)
    age(root / ANOTHER_START, 2 * DAY)
    other = root / "a-b-c-d-e"
    other.mkdir()
    age(other, 2 * DAY)
    remove_left_behind(root)
    assert (root / ANOTHER_START / "letter.txt").exists()
    assert other.exists()


def test_file_that_was_never_finished_is_removed(root: Path) -> None:
    own = root / machine_start_id()
    begun, left = aged(own / "host-1.new", 1), aged(own / "host-2.new", 120)
    remove_left_behind(root)
    assert (begun.exists(), left.exists()) == (True, False)


def test_missing_folder_is_no_error(tmp_path: Path) -> None:
    remove_left_behind(tmp_path / "none")
