"""Signals that another system inserts into a table of ClickHouse."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from buses.clickhouse.client import SQL, Address, ClickHouse, ClickHouseError, statements
from buses.incoming.intake import SIGNALS, Answer, Message
from buses.sinks import SinkUnavailable, name_of

FIRST_READ = timedelta(days=1)  # after a start; what is older is not read
OVERLAP = timedelta(minutes=1)  # rows become visible later than their time
PAGE, MOST_ROWS = 500, 20_000  # as in sql/poll.sql; what is more is read the next time


class ClickHouseLane:
    """Polls the table `signals`. What was answered is remembered while it can be read again."""

    def __init__(self, url: str) -> None:
        self.name = f"{name_of(url)}#signals"
        self._bus = name_of(url)
        self._client = ClickHouse(Address.parse(url))
        self._since = datetime.now(UTC) - FIRST_READ
        self._done: dict[str, datetime] = {}
        self._has_table = False
        self._stop = threading.Event()

    def poll(self, take: Callable[[Message], Answer], *, seconds: float) -> int:
        """Take the rows that are new, or wait so many seconds if there is none; return how many.

        Raises SinkUnavailable.
        """
        try:
            if not self._has_table:
                self._client.make_tables(statements("signals"))
                self._has_table = True
            rows = self._rows()
        except ClickHouseError as error:
            self._has_table = False
            raise SinkUnavailable(str(error)) from error
        new = [message for message in map(self._read, rows) if message.message_id not in self._done]
        waiting = [message.stored_at for message in new if not self._take(message, take)]
        self._advance([_time(row) for row in rows], waiting)
        if not new or waiting:
            self._stop.wait(seconds)
        return len(new) - len(waiting)

    def close(self) -> None:
        """Give up the connection."""
        self._stop.set()
        self._client.close()

    def _rows(self) -> list[dict[str, Any]]:
        """Return the rows since `_since`, page by page: many may have one time."""
        query, found = (SQL / "poll.sql").read_text(), list[dict[str, Any]]()
        after = {"since": f"{self._since:%Y-%m-%d %H:%M:%S.%f}", "feed": "", "id": ""}
        while len(found) < MOST_ROWS:
            page = self._client.query(query, **after)
            found += page
            if len(page) < PAGE:
                break
            last = page[-1]
            after = {"since": last["created"], "feed": last["feed"], "id": last["signal_id"]}
        return found

    def _take(self, message: Message, take: Callable[[Message], Answer]) -> bool:
        """Return whether the message is settled; else it is read again."""
        if take(message) is Answer.RETRY:
            return False
        self._done[message.message_id] = message.stored_at
        return True

    def _advance(self, read: list[datetime], waiting: list[datetime]) -> None:
        """Read from the newest row on next time, with an overlap, or from the first that waits."""
        if read:
            overlap = timedelta(0) if len(read) >= MOST_ROWS else OVERLAP
            self._since = max(self._since, min([max(read) - overlap, *waiting]))
        self._done = {name: at for name, at in self._done.items() if at >= self._since}

    def _read(self, row: dict[str, Any]) -> Message:
        message_id = f"{row['feed']}/{row['signal_id']}"
        fields = {
            name: value
            for name, value in row.items()
            if name not in ("created", "feed") and value not in (None, "")
        }
        return Message(
            bus=self._bus,
            message_id=message_id,
            subject=f"{SIGNALS}{row['feed']}",
            body=orjson.dumps(fields),
            stored_at=_time(row),
        )


def _time(row: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(row["created"]).replace(tzinfo=UTC)
