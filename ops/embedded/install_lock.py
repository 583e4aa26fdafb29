"""One at a time: who holds the folder var/, and what the others may know about it."""

import fcntl
import json
import os
from pathlib import Path
from typing import IO, Any, Self

from ops.embedded.errors import EmbeddedError

# PostgreSQL runs as another user when we are root: it passes through, and lists nothing.
FOLDER_MODE = 0o711 if os.geteuid() == 0 else 0o700


class AlreadyRunningError(EmbeddedError):
    """Another process of this installation runs; `told` is what it said about itself."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.info = told
        what, pid, url = (told.get(name) for name in ("what", "pid", "url"))
        where = f"pid {pid}, {url}" if url else f"pid {pid}"
        super().__init__(f"Fillcast is already running ({what}, {where}); use it, or end it first.")


class InstallLock:
    """A folder that belongs to this process until it ends, however it ends.

    What is told stays on disk (only for this user's eyes) and is believed only while it is held.
    After a kill, `left` has what the last holder had told: its leftovers can be looked for.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self.folder = folder.absolute()
        self.previous_info: dict[str, Any] = {}
        self._info: dict[str, Any] = {"what": what, "pid": os.getpid()}
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Take the folder. Raises AlreadyRunningError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(FOLDER_MODE)
            lock = (self.folder / "lock").open("ab")
        except OSError as e:
            raise EmbeddedError(f"The folder {self.folder} cannot be used: {e.strerror}.") from e
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise AlreadyRunningError(_read(self.folder)) from None
        self._lock = lock
        self.previous_info = _read(self.folder)
        self.publish()
        return self

    def publish(self, **more: Any) -> None:
        """Add to what others may know: url, DATABASE_URL, REDIS_URL, children."""
        self._info |= more
        fresh = self.folder / "running.new"
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(self._info))
        fresh.rename(self.folder / "running.json")

    def __exit__(self, *_: object) -> None:
        """Let the folder go."""
        if self._lock is not None:
            (self.folder / "running.json").unlink(missing_ok=True)
            self._lock.close()
            self._lock = None


def holder_info(folder: Path) -> dict[str, Any]:
    """Return what the holder of `folder` tells; nothing if nobody holds it."""
    try:
        with (folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(folder)
    except OSError:
        return {}
    return {}


def _read(folder: Path) -> dict[str, Any]:
    try:
        told = json.loads((folder / "running.json").read_text())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
