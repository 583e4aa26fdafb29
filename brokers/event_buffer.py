"""What the broker told and nobody has acknowledged: a bounded queue in this process.

It dies with the process. Then the first sync of each connection tells today's facts again.
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
    """Reports in the order in which they came."""

    def __init__(self, most: int = MAX_EVENTS) -> None:
        self._run, self._numbers = secrets.token_hex(4), count(1)
        self._waiting: OrderedDict[str, OrderReport] = OrderedDict()
        self._most = most
        self._bells: set[asyncio.Event] = set()
        self.dropped: set[str] = set()  # connections that must be told anew

    def push(self, report: OrderReport) -> None:
        """Keep a report. Beyond the bound the oldest goes, and its connection is noted."""
        event_id = f"{self._run}-{next(self._numbers):012d}"
        self._waiting[event_id] = replace(report, event_id=event_id)
        if len(self._waiting) > self._most:
            _, oldest = self._waiting.popitem(last=False)
            self.dropped.add(oldest.connection_id)
        for bell in self._bells:
            bell.set()

    async def notifications(self) -> AsyncGenerator[None, None]:
        """Ring at the beginning, and then once for all that has come since the last ring."""
        bell = asyncio.Event()
        self._bells.add(bell)
        try:
            while True:
                yield
                await bell.wait()
                bell.clear()
        finally:
            self._bells.discard(bell)

    def read(self, limit: int, after: str) -> list[OrderReport]:
        """Return the oldest that stand behind `after`."""
        found = []
        for event_id, report in self._waiting.items():
            if event_id > after:
                found.append(report)
                if len(found) == limit:
                    break
        return found

    def acknowledge(self, event_ids: Sequence[str]) -> None:
        """Forget what has been written down."""
        for event_id in event_ids:
            self._waiting.pop(event_id, None)

    def __len__(self) -> int:
        return len(self._waiting)
