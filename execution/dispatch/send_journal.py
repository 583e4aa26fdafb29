"""Which orders a process has begun to send: after its death the file proves which have not left.

Each order is recorded right before its socket write, in a page that the kernel keeps when the
process is killed. The process holds a lock on the file, which ends with it. So another process of
the same machine, once it gets the lock, knows that the first one is dead, and that an order of it
that the file lacks was never sent (docs/adr/0059). What proves too little is not used: after a
restart of the machine, whose last pages may be lost, and once a record had to be given up.
"""

import mmap
import os
import struct
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

from common.clocks import machine_time
from execution.dispatch.journal_folder import (
    SUFFIX,
    UNFINISHED,
    is_private,
    machine_start_id,
)

log = structlog.get_logger(__name__)
RECORDS = 65_536  # 13 s of 5,000 orders a second
_RECORD = struct.Struct("<QQd")  # order id, fence, machine_time()
_WHICH = struct.Struct("<QQ")  # what a record begins with
_COUNT = struct.Struct("<Q")
_COUNT_AT, _FIRST_AT = 64, 128  # before them the header
_SIZE = _FIRST_AT + RECORDS * _RECORD.size


def _header(descriptor: int) -> bytes:
    """Return what a file begins with: this start of the machine, and the file itself, no copy."""
    text = f"{machine_start_id()} {os.fstat(descriptor).st_ino}"
    return text.encode().ljust(_COUNT_AT, b"\0")


def _lock(descriptor: int) -> None:
    """Lock a file, at once or not at all. Raises BlockingIOError."""
    import fcntl  # Windows has none; nothing is recorded there, and so nothing proven

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _expect_exclusion(path: Path) -> None:
    """Raise OSError if a locked file can be locked again: some shared folders allow that."""
    again = os.open(path, os.O_RDWR)
    try:
        _lock(again)
    except BlockingIOError:
        return
    finally:
        os.close(again)
    raise OSError(f"{path.parent} does not lock files")


class SendJournal:
    """The file of a living process. Without one (another system, no space) nothing is proven.

    Thread-safe.
    """

    def __init__(self, path: Path | None, pages: mmap.mmap | None, descriptor: int | None) -> None:
        """Use `open` or `none`."""
        self._path, self._pages, self._descriptor = path, pages, descriptor
        self._recording = threading.Lock()
        self._count = 0
        self._settled = 0  # records before this one may be overwritten

    @classmethod
    def none(cls) -> Self:
        """Return a journal that records nothing, and so proves nothing."""
        return cls(None, None, None)

    @classmethod
    def open(cls, folder: Path, process_id: str) -> Self:
        """Create the file of a process. Its lock is held before it can be found."""
        if not machine_start_id():
            return cls.none()
        path = folder / f"{process_id}{SUFFIX}"
        temporary = path.with_suffix(UNFINISHED)
        with ExitStack() as undo:
            try:
                folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.mkdir(mode=0o700, exist_ok=True)
                if not is_private(folder):
                    raise OSError(f"{folder} is not only this user's")
                descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                undo.callback(os.close, descriptor)
                undo.callback(temporary.unlink, missing_ok=True)
                _lock(descriptor)
                _expect_exclusion(temporary)
                os.posix_fallocate(descriptor, 0, _SIZE)  # no record fails for lack of space
                pages = mmap.mmap(descriptor, _SIZE)
                pages[:_COUNT_AT] = _header(descriptor)
                temporary.rename(path)
            except OSError as error:
                log.warning("orders of this process will be looked up if it dies", why=str(error))
                return cls.none()
            undo.pop_all()
            return cls(path, pages, descriptor)

    def record(self, order_id: int, fence: int) -> None:
        """Record that an order is about to leave; it has not before this returns."""
        with self._recording:
            if self._pages is not None and self._count - self._settled >= RECORDS:
                log.warning("orders of this process will be looked up if it dies", why="no space")
                self._end()
            if self._pages is None:
                return
            at = _FIRST_AT + self._count % RECORDS * _RECORD.size
            _RECORD.pack_into(self._pages, at, order_id, fence, machine_time())
            self._count += 1
            _COUNT.pack_into(self._pages, _COUNT_AT, self._count)  # last: now it counts

    def lacks(self, order_id: int, fence: int) -> bool:
        """Return whether it proves that an order of this process has not been sent.

        An order's record is overwritten only when it is settled.
        """
        wanted = _WHICH.pack(order_id, fence)
        with self._recording:
            if self._pages is None:
                return False
            at = self._pages.find(wanted, _FIRST_AT)
            while at >= 0 and (at - _FIRST_AT) % _RECORD.size:  # two records, where they meet
                at = self._pages.find(wanted, at + 1)
        return at < 0

    def make_space(self, unsettled: Callable[[], Collection[tuple[int, int]]]) -> None:
        """If it is half full, let records be overwritten whose orders are settled.

        unsettled: returns order id and fence of all of this process's orders that are SUBMITTING.
        An order that was sent, and is not, never is again with this fence.
        """
        with self._recording:
            count, content = self._count, b""
            if self._pages is not None and count - self._settled > RECORDS // 2:
                content = self._pages[_FIRST_AT:]
        if not content:
            return
        needed = unsettled()
        first = self._settled
        while first < count:
            order_id, fence, _ = _RECORD.unpack_from(content, first % RECORDS * _RECORD.size)
            if (order_id, fence) in needed:
                break
            first += 1
        self._settled = first

    def close(self) -> None:
        """Remove the file: all outcomes are stored, or it proves nothing any more."""
        with self._recording:
            self._end()

    def _end(self) -> None:
        if self._pages is not None:
            self._pages[:_COUNT_AT] = bytes(_COUNT_AT)  # who has it open already reads nothing
            self._pages.close()
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._path = self._pages = self._descriptor = None


@dataclass(frozen=True, slots=True)
class DeadJournal:
    """What a process that has died had begun to send, by order id and fence."""

    process_id: str
    path: Path
    sent: frozenset[tuple[int, int]]

    def proves_unsent(self, order_id: int, fence: int) -> bool:
        """Return whether an order of this process cannot have left."""
        return (order_id, fence) not in self.sent


def dead_journals(folder: Path) -> Iterator[DeadJournal]:
    """Yield the journals of processes of this machine that have died, each locked meanwhile.

    A file that cannot be read, or that proves nothing, is left out; the latter is removed.
    """
    if not machine_start_id() or not is_private(folder):
        return
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with ExitStack() as stack:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
                stack.callback(os.close, descriptor)
                _lock(descriptor)  # it lives, or another process is reading it
                journal = _read(path, descriptor)
                if journal is None:
                    path.unlink(missing_ok=True)
            except OSError:
                continue
            if journal is not None:
                yield journal


def _read(path: Path, descriptor: int) -> DeadJournal | None:
    """Return what a file proves; None: nothing. It is a copy, of an earlier start of the machine,
    or lacks a page: then times do not rise in the order of the records."""
    content = os.pread(descriptor, _SIZE, 0)
    if len(content) < _SIZE or not content.startswith(_header(descriptor)):
        return None
    (count,) = _COUNT.unpack_from(content, _COUNT_AT)
    slots = list(_RECORD.iter_unpack(content[_FIRST_AT:]))
    # Once all are used, the next one may be half overwritten: the record there was settled.
    kept = slots[:count]
    if count >= RECORDS:
        kept = slots[count % RECORDS + 1 :] + slots[: count % RECORDS]
    times = [at for *_, at in kept]
    if times != sorted(times) or 0.0 in times:
        return None
    sent = frozenset((order_id, fence) for order_id, fence, _ in slots if order_id)
    return DeadJournal(path.name.removesuffix(SUFFIX), path, sent)
