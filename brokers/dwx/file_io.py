"""Read and write files in a folder that other users can write to.

The terminal's owner could put a link, a pipe or a huge file in place of the expert advisor's file
or ours: we would read or overwrite another owner's file, or wait for ever. So these functions open
regular files only, none larger than a terminal's complete history. All of them access the disk.
"""

import fcntl
import os
import stat
from contextlib import ExitStack
from pathlib import Path

MAX_FILE_SIZE = 64_000_000  # bytes; a closed trade takes some 350 of them


def read(path: Path, begin: int = 0) -> bytes:
    """Return a file's content from this byte on. Raises OSError."""
    with os.fdopen(_open(path, os.O_RDONLY), "rb") as file:
        size = os.fstat(file.fileno()).st_size - begin
        if size > MAX_FILE_SIZE:
            raise OSError(f"{path.name} is larger than {MAX_FILE_SIZE} bytes")
        file.seek(begin)
        # Python reserves what is asked for, so no more than there is. What is added meanwhile is
        # found by the next read.
        return file.read(max(size, 0))


def create(path: Path, raw: bytes) -> None:
    """Write a new file. Raises OSError, also if it exists already."""
    with os.fdopen(_open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(raw)


def replace(path: Path, raw: bytes) -> None:
    """Write a file atomically. Raises OSError."""
    fresh = path.with_suffix(".fresh")
    fresh.unlink(missing_ok=True)
    create(fresh, raw)
    os.replace(fresh, path)


def move_away(path: Path, to: Path) -> bool:
    """Move a file; return False if it does not exist any more. Raises OSError."""
    try:
        os.replace(path, to)
    except FileNotFoundError:
        return False
    return True


def remove_older(path: Path) -> None:
    """Remove files of the same name with a smaller number, as in `next-12.txt`. Raises OSError.

    Larger ones stay: the thread of a call that was given up may run late, when the next call's file
    exists already.
    """
    name, number = _numbered(path)
    for other in path.parent.glob(f"{name}-*{path.suffix}"):
        if 0 <= _numbered(other)[1] < number:
            other.unlink(missing_ok=True)


def _numbered(path: Path) -> tuple[str, int]:
    name, _, number = path.stem.rpartition("-")
    return name, int(number) if number.isdecimal() else -1


def append(path: Path, raw: bytes) -> None:
    """Append to a file and flush it to the disk. Raises OSError."""
    with os.fdopen(_open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def locked_file(path: Path) -> int | None:
    """Open a file, lock it and return its descriptor, which keeps the lock until it is closed.
    None: another process has the lock. Raises OSError."""
    with ExitStack() as on_failure:
        found = _open(path, os.O_RDWR | os.O_CREAT)
        on_failure.callback(os.close, found)
        try:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        on_failure.pop_all()
        return found


def own_folder(folder: Path) -> Path:
    """Return our own folder in a terminal's; create it if necessary. Raises OSError."""
    own = folder / "fillcast"
    own.mkdir(exist_ok=True)
    if own.is_symlink():
        raise OSError(f"{own.name} is a link")
    return own


def _open(path: Path, flags: int) -> int:
    # The umask decides who else may read: a terminal may run as another user.
    found = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(f"{path.name} is not a regular file")
    return found
