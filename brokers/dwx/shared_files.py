"""Read files while another program writes them.

MT4 empties a file and writes it again, so a reader may find nothing or a part. We then read it
again, for a limited time. All disk access is in threads, so the event loop never waits for it.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from brokers.dwx import file_io
from brokers.dwx.folders import TerminalUnavailableError
from brokers.dwx.parse import MalformedError, OtherPlatformError
from common.reason_codes import Code

T = TypeVar("T")
Signature = tuple[int, int, int]
POLL_SECONDS = (0.005, 0.015)  # the first looks and all that follow
POLLS_IN_WAIT = 5  # between both: an answer is seen late by a fifth of what it took, or less
SKEW_SECONDS = 1.0


def signature(path: Path) -> Signature | None:
    """What changes with each writing; None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


async def wait_for_next_poll(began: float) -> None:
    """Wait between two looks. What answers at once is looked at soon, what takes its time (the
    expert advisor's timer is 25 ms, a broker's answer a multiple) costs no more looks for that.

    began: when waiting began, in monotonic seconds."""
    await asyncio.sleep(poll_pause(time.monotonic() - began))


def poll_pause(waited: float) -> float:
    """Seconds until the next look, by the seconds that were waited already."""
    soonest, latest = POLL_SECONDS
    return min(latest, max(soonest, waited / POLLS_IN_WAIT))


async def read_whole(path: Path, read: Callable[[bytes], T], seconds: float) -> T:
    """Read a file; retry for so many seconds while it is incomplete.

    Raises TerminalUnavailableError, with the last content that was not empty."""
    began, raw = time.monotonic(), b""
    while True:
        try:
            return await asyncio.to_thread(_read, path, read)
        except (MalformedError, OSError) as error:
            if isinstance(error, MalformedError):
                raw = error.raw or raw
            if time.monotonic() > began + seconds or isinstance(error, OtherPlatformError):
                detail = f"{path.name} cannot be read: {str(error)[:200]}"
                raise TerminalUnavailableError(Code.NOT_CONNECTED, detail, raw) from error
        await wait_for_next_poll(began)


def read_if_changed(
    path: Path, read: Callable[[bytes], T], before: Signature | None = None
) -> tuple[Signature | None, T | None]:
    """Return a file's signature and its content at that time, in one access to the disk.

    The content is None if the signature is still `before`, or the file cannot be read now."""
    now = signature(path)
    if now in (before, None):
        return now, None
    try:
        return now, _read(path, read)
    except (MalformedError, OSError):
        return now, None


def _read(path: Path, read: Callable[[bytes], T]) -> T:
    raw = file_io.read(path)
    try:
        return read(raw)
    except MalformedError as error:
        error.raw = raw
        raise


async def wait_until_changed(path: Path, before: Signature | None, seconds: float) -> bool:
    """Wait until a file has been written since it had this signature; False: not in this time."""
    began = time.monotonic()
    while (await asyncio.to_thread(signature, path)) in (before, None):
        if time.monotonic() > began + seconds:
            return False
        await wait_for_next_poll(began)
    return True


async def wait_until_gone(path: Path, seconds: float) -> bool:
    """Wait until a file is no longer there; False: it still is."""
    began = time.monotonic()
    while await asyncio.to_thread(path.exists):
        if time.monotonic() > began + seconds:
            return False
        await wait_for_next_poll(began)
    return True


class FileAge:
    """How long ago a file was written at most, independent of the clock of its disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: Signature | None = None
        self._checked_at = self._moved = float("-inf")

    def age(self) -> float:
        """Return seconds. The disk's clock is believed unless it is ahead of ours; besides that
        the file was written after our previous look if it has changed since. Touches the disk."""
        found, now = signature(self._path), time.monotonic()
        if found is None:
            self._last = None
            return float("inf")
        if self._last is not None and found != self._last:
            self._moved = self._checked_at
        self._last, self._checked_at = found, now
        by_disk = time.time() - found[0] / 1e9
        if by_disk < -SKEW_SECONDS:
            by_disk = float("inf")
        return min(now - self._moved, max(0.0, by_disk))
