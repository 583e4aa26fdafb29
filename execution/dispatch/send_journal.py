"""Which orders a process has begun to send: after its death the file proves which have not left.

Each order is recorded right before its socket write, in a page that the kernel keeps when the
process is killed. The process holds a lock on the file, which ends with it. So another process of
the same machine, once it gets the lock, knows that the first one is dead, and that an order of it
that the file lacks was never sent (docs/adr/0059). What proves too little is not used: after a
restart of the machine, whose last pages may be lost, and for orders older than the oldest record.
"""

import mmap
import os
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog
from django.conf import settings

from common.clocks import machine_time

if sys.platform != "win32":  # there nothing is recorded, and nothing proven
    import fcntl

log = structlog.get_logger(__name__)
SUFFIX = ".sends"
RECORDS = 65_536  # 13 s of 5,000 orders a second; more prove nothing about older orders
_RECORD = struct.Struct("<QQd")  # order id, fence, machine_time()
_COUNT = struct.Struct("<Q")
_COUNT_AT, _FIRST_AT = 64, 128  # before them the id of the machine's start, as text
_SIZE = _FIRST_AT + RECORDS * _RECORD.size


def journal_folder() -> Path:
    """Return the folder of the journals of this machine's processes."""
    return Path(settings.FILLCAST_VAR) / "sends"


def machine_start_id() -> str:
    """Return an id that changes with each start of this machine; "" where the system has none."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


class SendJournal:
    """The file of a living process. Without one (another system, a full disk) nothing is proven.

    Thread-safe.
    """

    def __init__(self, path: Path | None, pages: mmap.mmap | None, descriptor: int | None) -> None:
        """Use `open` or `none`."""
        self._path, self._pages, self._descriptor = path, pages, descriptor
        self._recording = threading.Lock()
        self._count = 0

    @classmethod
    def none(cls) -> Self:
        """Return a journal that records nothing, and so proves nothing."""
        return cls(None, None, None)

    @classmethod
    def open(cls, folder: Path, process_id: str) -> Self:
        """Create the file of a process. Its lock is held before it can be found."""
        if not (start := machine_start_id()):
            return cls.none()
        path = folder / f"{process_id}{SUFFIX}"
        temporary = path.with_suffix(".new")
        with ExitStack() as undo:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                undo.callback(os.close, descriptor)
                undo.callback(temporary.unlink, missing_ok=True)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.posix_fallocate(descriptor, 0, _SIZE)  # no record fails on a full disk
                pages = mmap.mmap(descriptor, _SIZE)
                pages[: len(start)] = start.encode()
                temporary.rename(path)
            except OSError as error:
                log.warning("orders of this process will be looked up if it dies", why=str(error))
                return cls.none()
            undo.pop_all()
            return cls(path, pages, descriptor)

    def record(self, order_id: int, fence: int) -> None:
        """Record that an order is about to leave; it has not before this returns."""
        with self._recording:
            if self._pages is None:
                return
            at = _FIRST_AT + self._count % RECORDS * _RECORD.size
            _RECORD.pack_into(self._pages, at, order_id, fence, machine_time())
            self._count += 1
            _COUNT.pack_into(self._pages, _COUNT_AT, self._count)  # last: now it counts

    def close(self) -> None:
        """Remove the file: all outcomes are stored."""
        with self._recording:
            if self._path is not None:
                self._path.unlink(missing_ok=True)
            if self._pages is not None:
                self._pages.close()
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._path = self._pages = self._descriptor = None


@dataclass(frozen=True, slots=True)
class DeadJournal:
    """What a process that has died had begun to send, by order id and fence.

    covers_seconds: an order whose intent is younger than this is in `sent`, or has not left.
    """

    process_id: str
    path: Path
    sent: frozenset[tuple[int, int]]
    covers_seconds: float

    def proves_unsent(self, order_id: int, fence: int, age: float) -> bool:
        """Return whether an order cannot have left. age: seconds since its intent."""
        return age < self.covers_seconds and (order_id, fence) not in self.sent


def dead_journals(folder: Path) -> Iterator[DeadJournal]:
    """Yield the journals of processes of this machine that have died, each locked meanwhile."""
    for path in sorted(folder.glob(f"*{SUFFIX}")) if machine_start_id() else ():
        with suppress(OSError):  # it lives, or another process is reading it
            descriptor = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if (journal := _read(path, os.pread(descriptor, _SIZE, 0))) is not None:
                    yield journal
                else:
                    path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _read(path: Path, content: bytes) -> DeadJournal | None:
    """Return what a file proves; None: nothing, as it is of an earlier start of the machine."""
    start = machine_start_id().encode()
    if len(content) < _SIZE or not start or not content.startswith(start):
        return None
    (count,) = _COUNT.unpack_from(content, _COUNT_AT)
    kept = min(count, RECORDS)
    records = list(_RECORD.iter_unpack(content[_FIRST_AT : _FIRST_AT + kept * _RECORD.size]))
    covers = float("inf")
    if count > RECORDS:
        covers = machine_time() - min(at for *_, at in records)
    return DeadJournal(
        path.name.removesuffix(SUFFIX), path, frozenset((id_, fence) for id_, fence, _ in records),
        covers,
    )  # fmt: skip
