"""Where tests keep the data of the servers that they start: in memory, if there is plenty.

On a disk, making and removing the 2,700 files of a database's copy takes about a second of
processor time, and a run makes dozens of copies. A power loss takes either away.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")
NEEDED_BYTES = 8 * 2**30  # a dozen processes with some hundred megabytes each
LOCK = ".in-use"


@contextmanager
def server_folder(prefix: str) -> Iterator[Path]:
    """Create a folder that the servers' user can reach; remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_parent()))
    folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
    unlocked = folder / f"{LOCK}.new"
    with unlocked.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        unlocked.rename(folder / LOCK)  # only now: another process removes what is not locked
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_left_behind(parent: Path = MEMORY) -> None:
    """Remove the folders in memory of test processes that were killed."""
    for lock in parent.glob(f"fillcast-*/{LOCK}"):
        try:
            with lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:  # in use, another user's, or just removed
            continue


def _parent() -> Path | None:
    """Return the folder in memory; None for the usual one, which TMPDIR may set."""
    if os.environ.get("TMPDIR") or not os.access(MEMORY, os.W_OK):
        return None
    free = min(shutil.disk_usage(MEMORY).free, _available_bytes())
    return MEMORY if free >= NEEDED_BYTES else None


def _available_bytes() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    found = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return 1024 * int(next(found, 0))
