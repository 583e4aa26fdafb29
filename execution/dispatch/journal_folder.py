"""Where the journals of sends are: in memory, in a folder that only this installation uses.

A send must not wait for a disk, and what a journal proves ends with the machine anyway. So it is a
folder in a tmpfs, if the system has one for this user; sends/ in FILLCAST_VAR if that is there.
Each start of a machine has its own folder below it: a folder may be shared by several machines, or
survive a restart.
"""

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from django.conf import settings

SUFFIX, UNFINISHED = ".sends", ".new"
_START_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RUNTIME = "fillcast"  # RuntimeDirectory= of our units: all of them share it
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
FOREIGN_SECONDS = 86_400.0  # after which another start's folder is removed if nothing changes there
UNFINISHED_SECONDS = 60.0  # creating a journal takes milliseconds


def machine_start_id() -> str:
    """Return an id that changes with each start of this machine; "" where the system has none."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def journal_root() -> Path:
    """Return the folder of this installation's journals, which may not exist yet."""
    var = Path(settings.FILLCAST_VAR)
    if (own := var / "sends").is_dir():
        return own
    of_systemd = map(Path, os.environ.get("RUNTIME_DIRECTORY", "").split(":"))
    named = (folder for folder in of_systemd if folder.name == RUNTIME)
    return next(named, None) or next(_folders_in_memory(var), own)


def journal_folder() -> Path:
    """Return the folder of the journals of this machine's processes since it was started."""
    return journal_root() / (machine_start_id() or "none")


def _folders_in_memory(var: Path) -> Iterator[Path]:
    """Yield the folders in memory that this user can have for this installation.

    Its name has the user's id: other users may create folders in /dev/shm.
    """
    for place in (Path("/dev/shm"), Path(os.environ.get("XDG_RUNTIME_DIR") or "/nowhere")):
        if not is_in_memory(place) or not os.access(place, os.W_OK | os.X_OK):
            continue
        where = f"{settings.FILLCAST_INSTALLATION_TAG} {var.resolve()}"
        mark = hashlib.sha256(where.encode()).hexdigest()[:16]
        folder = place / f"fillcast-{os.getuid()}-{mark}"
        if not os.path.lexists(folder) or is_private(folder):
            yield folder


def is_private(folder: Path) -> bool:
    """Return whether it is a folder of this user, that no other user can look into.

    Who could write there could forge a proof; a link may lead anywhere.
    """
    try:
        found = folder.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.geteuid()
        and not stat.S_IMODE(found.st_mode) & 0o077
    )


@cache
def is_in_memory(folder: Path) -> bool:
    """Return whether a folder is in a tmpfs."""
    return filesystem_of(folder) in _IN_MEMORY


def filesystem_of(folder: Path) -> str:
    """Return the type of a folder's file system, as Linux names it; "" if that is not known."""
    try:
        device = folder.stat().st_dev
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts:
        mount, _, kind = line.partition(" - ")
        if mount.split()[2] == number:
            return kind.split()[0]
    return ""


def remove_left_behind(root: Path) -> None:
    """Remove what no process will read: folders of other starts, and unfinished files.

    A start whose folder changes is that of another machine that shares the folder.
    """
    if not (start := machine_start_id()):
        return
    own, now = root / start, time.time()
    with suppress(OSError):
        os.utime(own)  # for the others
    for path in own.glob(f"*{UNFINISHED}"):
        with suppress(OSError):
            if path.stat().st_mtime < now - UNFINISHED_SECONDS:
                path.unlink()
    for folder in root.glob("*-*-*-*-*"):
        with suppress(OSError):
            is_old = folder.stat().st_mtime < now - FOREIGN_SECONDS
            if folder != own and _START_ID.fullmatch(folder.name) and is_old:
                _remove_journals(folder)


def _remove_journals(folder: Path) -> None:
    """Remove journals, and their folder if nothing else is in it."""
    for path in folder.iterdir():
        if path.suffix in (SUFFIX, UNFINISHED):
            path.unlink(missing_ok=True)
    folder.rmdir()
