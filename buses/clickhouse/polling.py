"""Signals that another system inserts into a table of ClickHouse."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import orjson

from buses.clickhouse.client import SQL, Address, ClickHouse, ClickHouseError, statements
from buses.incoming.intake import SIGNALS, Answer, Message, not_stored
from buses.incoming.lanes import read_cursor, store_cursor
from buses.sinks import SinkUnavailable, name_of

OVERLAP = timedelta(minutes=1)  # rows become visible later than their time
PAGE, MOST_ROWS = 500, 20_000  # as in sql/poll.sql; what is more is read the next time
SEARCH_SECONDS = 60.0  # so often all of a week is searched for rows that appeared late
STORE_SECONDS = 5.0
TIME = "%Y-%m-%d %H:%M:%S.%f"


class ClickHouseLane:
    """Polls the table `signals` from a cursor that our database keeps.

    What appears behind the cursor, such as a row approved without its time, is found by a search
    of what our database does not have. So a restart takes nothing that would not be taken anyway.
    """

    def __init__(self, url: str) -> None:
        self.name = f"{name_of(url)}#signals"
        self._bus = name_of(url)
        self._client = ClickHouse(Address.parse(url))
        self.began = self.since = ""
        """Times of ClickHouse: what is older than `began` was not for us; what is read next."""
        self._done: dict[tuple[str, str, str], datetime] = {}
        self._has_table = False
        self._searched = self._stored = -inf  # monotonic
        self._stop = threading.Event()

    def poll(self, take: Callable[[Message], Answer], *, seconds: float) -> int:
        """Take the rows that are new, or wait so many seconds if there is none; return how many.

        Raises SinkUnavailable, DatabaseError.
        """
        try:
            self._begin()
            late = self._late()
            rows = self._rows(self.since, MOST_ROWS)
        except ClickHouseError as error:
            self._has_table = False
            raise SinkUnavailable(str(error)) from error
        new = [one for one in map(self._read, rows) if one.key not in self._done]
        waiting = [one.stored_at for one in (*late, *new) if not self._take(one, take)]
        if waiting and late:
            self._searched = -inf
        self._advance([_time(row["seen"]) for row in rows], waiting)
        if waiting or not (late or new):
            self._stop.wait(seconds)
        return len(late) + len(new) - len(waiting)

    def close(self) -> None:
        """Give up the connection."""
        self._stop.set()
        self._client.close()

    def _begin(self) -> None:
        """Make the table, and go on where the last process stopped."""
        if self._has_table:
            return
        self._client.make_tables(statements("signals"))
        cursor = read_cursor(self.name)
        if not cursor:
            (found,) = self._client.query("SELECT toString(now64(6, 'UTC')) AS at")
            began = f"{_time(found['at']) - OVERLAP:{TIME}}"
            cursor = {"began": began, "since": began}
            store_cursor(self.name, cursor)
        self.began, self.since = cursor["began"], cursor["since"]
        self._has_table = True

    def _late(self) -> list[Message]:
        """Return rows behind the cursor that our database does not have, now and then."""
        if time.monotonic() - self._searched < SEARCH_SECONDS:
            return []
        limit = _time(self.since)
        read = map(self._read, self._rows(self.began, inf, until=limit))
        late = not_stored([one for one in read if one.key not in self._done])
        self._searched = time.monotonic()
        return late

    def _rows(self, since: str, most: float, until: datetime | None = None) -> list[dict[str, Any]]:
        """Return the rows since a time, page by page: many may have one time."""
        query, found = (SQL / "poll.sql").read_text(), list[dict[str, Any]]()
        after = {"since": since, "feed": "", "id": ""}
        while len(found) < most:
            page = self._client.query(query, **after)
            found += [row for row in page if until is None or _time(row["seen"]) <= until]
            if len(page) < PAGE or (until is not None and _time(page[-1]["seen"]) > until):
                break
            last = page[-1]
            after = {"since": last["seen"], "feed": last["feed"], "id": last["signal_id"]}
        return found

    def _take(self, message: Message, take: Callable[[Message], Answer]) -> bool:
        """Return whether the message is settled; else it is read again."""
        if take(message) is Answer.RETRY:
            return False
        self._done[message.key] = message.stored_at
        return True

    def _advance(self, read: list[datetime], waiting: list[datetime]) -> None:
        """Read from the newest row on next time, with an overlap, or from the first that waits."""
        since = _time(self.since)
        if read:
            overlap = timedelta(0) if len(read) >= MOST_ROWS else OVERLAP
            since = max(since, min([max(read) - overlap, *waiting]))
        self._done = {key: at for key, at in self._done.items() if at >= since}
        moved, self.since = f"{since:{TIME}}" != self.since, f"{since:{TIME}}"
        if moved and time.monotonic() - self._stored >= STORE_SECONDS:
            store_cursor(self.name, {"began": self.began, "since": self.since})
            self._stored = time.monotonic()

    def _read(self, row: dict[str, Any]) -> Message:
        fields = {
            name: value
            for name, value in row.items()
            if name not in ("seen", "feed") and value not in (None, "")
        }
        return Message(
            bus=self._bus,
            message_id=f"{row['feed']}/{row['signal_id']}",
            subject=f"{SIGNALS}{row['feed']}",
            body=orjson.dumps(fields),
            stored_at=_time(row["seen"]),
        )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
