"""The lock on the folder var/, and what its holder publishes about itself."""

import fcntl
import json
import os
from pathlib import Path
from typing import IO, Any, Self

from ops.embedded.errors import EmbeddedError

# PostgreSQL runs as another user if we are root: it may pass through, but not list files.
FOLDER_MODE = 0o711 if os.geteuid() == 0 else 0o700


class AlreadyRunningError(EmbeddedError):
    """Another process of this installation runs; `info` is what it published about itself."""

    def __init__(self, info: dict[str, Any]) -> None:
        self.info = info
        what, pid, url = (info.get(name) for name in ("what", "pid", "url"))
        where = f"pid {pid}, {url}" if url else f"pid {pid}"
        super().__init__(
            f"Fillcast is already running ({what}, {where}); use it, or stop it first."
        )


class InstallLock:
    """A folder that belongs to this process until it ends, even if it is killed.

    What the holder publishes is stored in the folder, readable by this user only, and is valid only
    while the lock is held. If the last holder was killed, `previous_info` has what it published, to
    find the processes that it left running.
    """

    def __init__(self, folder: Path, what: str) -> None:
        """what: names this process to others that find the folder locked."""
        self.folder = folder.absolute()
        self.previous_info: dict[str, Any] = {}
        self._info: dict[str, Any] = {"what": what, "pid": os.getpid()}
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Lock the folder. Raises AlreadyRunningError, or EmbeddedError if it cannot be used."""
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
        """Publish more values: url, DATABASE_URL, REDIS_URL, children."""
        self._info |= more
        fresh = self.folder / "running.new"
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(self._info))
        fresh.rename(self.folder / "running.json")

    def __exit__(self, *_: object) -> None:
        """Release the folder."""
        if self._lock is not None:
            (self.folder / "running.json").unlink(missing_ok=True)
            self._lock.close()
            self._lock = None


def holder_info(folder: Path) -> dict[str, Any]:
    """Return what the holder of `folder` publishes; an empty mapping if it is not locked."""
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
        info = json.loads((folder / "running.json").read_text())
    except (OSError, ValueError):
        return {}
    return info if isinstance(info, dict) else {}
