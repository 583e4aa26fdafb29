"""Receive one lane: poll it, unless an operator has paused it, and note how that goes."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog
from django.db import connection

from buses.foreign import error_of
from buses.incoming.intake import Answer, Message, take
from buses.incoming.lanes import Progress, is_paused, note_error, note_success
from buses.sinks import SinkMisconfigured, SinkUnavailable

log = structlog.get_logger(__name__)
POLL_SECONDS = 1.0
MISCONFIGURED_SECONDS, LONGEST_RETRY_SECONDS = 60.0, 5.0
NOTE_SECONDS = 5.0  # so often a lane stores that it is received
PAUSE_SECONDS = 1.0  # so often a lane reads whether an operator has paused it


class Lane(Protocol):
    """What messages come from, in their order. Used by one thread."""

    name: str

    @property
    def progress(self) -> Progress:
        """How far it was read, as the last poll left it."""
        return Progress()

    def poll(self, take: Callable[[Message], Answer], *, seconds: float) -> int:
        """Take what has come; wait at most so many seconds. Raises SinkUnavailable."""

    def close(self) -> None:
        """Give up the connection."""


Make = Callable[[], Lane]


class Reception:
    """The reception of one lane, on the caller's thread."""

    def __init__(
        self, name: str, make: Make, *, stop: threading.Event, announce: Callable[[], None]
    ) -> None:
        """name: for errors before the lane is made. announce: called whenever it goes on."""
        self.received = time.monotonic()
        """When it was last received, or found to be paused."""
        self._name, self._make, self._stop, self._announce = name, make, stop, announce
        self._lane: Lane | None = None
        self._noted = self._pause_read = -math.inf  # monotonic
        self._is_paused = False
        self._newest: datetime | None = None  # message since the last note

    def run(self) -> None:
        """Receive until `stop` is set."""
        failures = 0
        while not self._stop.is_set():
            self._announce()
            error = error_of(self._poll)
            if error is not None:
                failures += 1
                self._noted = -math.inf  # the next success is stored at once
                text = str(error) or type(error).__name__
                _is_stored(partial(note_error, self._name, text))
            if error is None:
                failures = 0
                continue
            self._stop.wait(_pause(self._name, error, failures))
        if self._lane is not None:
            self._lane.close()
        connection.close()

    def _poll(self) -> None:
        if self._must_wait():
            self._stop.wait(POLL_SECONDS)
            return
        self._lane = self._lane or self._make()
        self._lane.poll(self._take, seconds=POLL_SECONDS)
        self._note()

    def _take(self, message: Message) -> Answer:
        """Take a message; after a pause began the rest of what was fetched stays at the bus."""
        if self._must_wait():
            return Answer.RETRY
        answer = take(message)
        if answer is Answer.ACK:
            self._newest = max(self._newest or message.stored_at, message.stored_at)
            self._note()  # many rows in one poll are no silence
        return answer

    def _must_wait(self) -> bool:
        """Return whether the lane is paused, as the database stated it within a second. True also
        while the database does not answer: nothing can be taken without it."""
        if time.monotonic() - self._pause_read >= PAUSE_SECONDS:
            if not _is_stored(self._read_pause):
                return True
            self._pause_read = time.monotonic()
        if self._is_paused:
            self.received = time.monotonic()  # as it shall be
        return self._is_paused

    def _read_pause(self) -> None:
        self._is_paused = is_paused(self._name)

    def _note(self) -> None:
        """Note that the lane is received, now and then."""
        if time.monotonic() - self._noted >= NOTE_SECONDS:
            progress = self._lane.progress if self._lane else None
            if not _is_stored(partial(note_success, self._name, progress, self._newest)):
                return  # nothing can be taken without the database
            self._noted, self._newest = time.monotonic(), None
            self._announce()
        self.received = time.monotonic()


def _is_stored(work: Callable[[], None]) -> bool:
    """Store or read how a lane goes; return whether the database answered."""
    error = error_of(work)
    if error is not None:
        log.warning("the state of a lane was not stored or read", error=str(error).strip())
        connection.close()
    return error is None


def _pause(name: str, error: Exception, failures: int) -> float:
    """Log why a lane is not received; return after how many seconds it is tried again."""
    if isinstance(error, SinkMisconfigured):
        log.error("bus is misconfigured", lane=name, error=f"{error}")
        return MISCONFIGURED_SECONDS
    if not isinstance(error, SinkUnavailable):  # a fault of ours or a library's; other lanes go on
        log.error("bus is not received", lane=name, exc_info=error)
        connection.close()
    elif failures in (1, 10) or not failures % 100:
        log.warning("bus is away", lane=name, failures=failures, error=f"{error}")
    return min(0.5 * 2.0 ** min(failures, 10), LONGEST_RETRY_SECONDS)
