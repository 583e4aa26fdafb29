"""A bounded in-process queue of broker reports that were not acknowledged yet.

It is lost with the process. The first sync of each connection then reads today's facts again.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from itertools import count

from brokers.types import OrderReport

MAX_EVENTS = 20_000


class EventBuffer:
    """Reports in order of arrival."""

    def __init__(self, most: int = MAX_EVENTS) -> None:
        self._run, self._numbers = secrets.token_hex(4), count(1)
        self._waiting: OrderedDict[str, OrderReport] = OrderedDict()
        self._most = most
        self._listeners: set[asyncio.Event] = set()
        self.dropped: set[str] = set()  # connections that must be synced again

    def push(self, report: OrderReport) -> None:
        """Add a report. If the buffer is full, drop the oldest and note its connection."""
        event_id = f"{self._run}-{next(self._numbers):012d}"
        self._waiting[event_id] = replace(report, event_id=event_id)
        if len(self._waiting) > self._most:
            _, oldest = self._waiting.popitem(last=False)
            self.dropped.add(oldest.connection_id)
        for listener in self._listeners:
            listener.set()

    async def notifications(self) -> AsyncGenerator[None, None]:
        """Yield at the beginning, then once for all reports since the last time."""
        listener = asyncio.Event()
        self._listeners.add(listener)
        try:
            while True:
                yield
                await listener.wait()
                listener.clear()
        finally:
            self._listeners.discard(listener)

    def read(self, limit: int, after: str) -> list[OrderReport]:
        """Return the oldest reports with an event_id after `after`."""
        found = []
        for event_id, report in self._waiting.items():
            if event_id > after:
                found.append(report)
                if len(found) == limit:
                    break
        return found

    def acknowledge(self, event_ids: Sequence[str]) -> None:
        """Drop reports that have been stored."""
        for event_id in event_ids:
            self._waiting.pop(event_id, None)

    def __len__(self) -> int:
        return len(self._waiting)
