"""Signals that another system inserts into a table of ClickHouse."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, NamedTuple

import orjson

from buses.clickhouse.client import SQL, Address, ClickHouse, ClickHouseError, statements
from buses.incoming.intake import Answer, Message, not_stored
from buses.incoming.lanes import Progress, read_cursor, store_cursor
from buses.incoming.models import SIGNALS
from buses.sinks import SinkUnavailable, name_of

OVERLAP = timedelta(minutes=1)  # rows become visible later than their time
MOST_ROWS = 5_000  # of a query, and more if they have one key; the next poll goes on after them
SEARCH_SECONDS = 60.0  # so often a search for rows that appeared late begins
STORE_SECONDS = 5.0
LONGEST = timedelta(days=7)  # what was created before that is not read
SLACK = 4  # a slice of a search is so many times as long as the last full page
FAR = "2200-01-01 00:00:00.000000"
TIME = "%Y-%m-%d %H:%M:%S.%f"


class Place(NamedTuple):
    """After which row the table is read on: its key in the order of sql/poll.sql."""

    since: str
    feed: str = ""
    id: str = ""


class ClickHouseLane:
    """Polls the table `signals` from a cursor that our database keeps.

    What appears behind the cursor, such as a row approved without its time, is found by a search
    of a week for what our database does not have. So a restart takes nothing that would not be
    taken anyway. A poll has one query of each, so that it is short however many rows there are; a
    search goes on slice by slice, each about as long as a full page, so that none reads the week.
    """

    def __init__(self, url: str) -> None:
        self.name = f"{name_of(url)}#signals"
        self._bus = name_of(url)
        self._client = ClickHouse(Address.parse(url))
        self.began = self.since = self._read_to = ""
        """Times of ClickHouse: what is older than `began` was not for us; what is read next."""
        self._done: dict[tuple[str, ...], datetime] = {}
        self._has_table = False
        self._cut: Place | None = None  # more than MOST_ROWS are new: read on from here
        self._first_waiting: datetime | None = None  # of those since the cursor
        self._searched: Place | None = None  # how far the search is that goes on
        self._slice = LONGEST
        self._search_began = self._stored = -inf  # monotonic
        self._stop = threading.Event()

    @property
    def progress(self) -> Progress:
        """The time of the newest row that was read, or of the first that is read again."""
        return Progress(self._bus, f"rows until {self._read_to[:19]} UTC" if self._read_to else "")

    def poll(self, take: Callable[[Message], Answer], *, seconds: float) -> int:
        """Take the rows that are new, or wait so many seconds if there is none; return how many.

        Raises SinkUnavailable, DatabaseError.
        """
        try:
            self._begin()
            rows = self._rows(self._cut or Place(self.since), until=FAR)
            new = [one for one in map(self._read, rows) if one.key not in self._done]
            waiting = self._take(new, take)
            self._advance(rows, waiting)
            late, searched = self._late()
        except ClickHouseError as error:
            self._has_table = False
            raise SinkUnavailable(str(error)) from error
        late_waiting = self._take(late, take)
        if not late_waiting:
            self._searched = searched
        count = len(new) + len(late) - len(waiting) - len(late_waiting)
        if waiting or late_waiting or (not count and self._cut is None):
            self._stop.wait(seconds)
        return count

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
        self._read_to = self._read_to or self.since
        self._cut, self._has_table = None, True

    def _late(self) -> tuple[list[Message], Place | None]:
        """Return rows behind the cursor that our database does not have, of the next part of the
        search, and where that ends; None: at the cursor."""
        if self._searched is None:
            if time.monotonic() - self._search_began < SEARCH_SECONDS:
                return [], None
            first = max(_time(self.began), _time(self.since) - LONGEST)
            self._searched, self._search_began = Place(f"{first:{TIME}}"), time.monotonic()
        since = _time(self.since)
        until = min(since, _time(self._searched.since) + self._slice)
        rows = self._rows(self._searched, until=f"{until:{TIME}}")
        late = not_stored([self._read(row) for row in rows]) if rows else []
        if len(rows) >= MOST_ROWS:
            took = _time(rows[-1]["seen"]) - _time(rows[0]["seen"])
            self._slice = max(SLACK * took, OVERLAP)
            return late, _last(rows)
        self._slice = min(2 * self._slice, LONGEST)
        return late, Place(f"{until:{TIME}}") if until < since else None

    def _rows(self, after: Place, *, until: str) -> list[dict[str, Any]]:
        """Return the first rows after a place and before a time."""
        query = (SQL / "poll.sql").read_text()
        return self._client.query(query, **after._asdict(), until=until, most=str(MOST_ROWS))

    def _take(self, messages: list[Message], take: Callable[[Message], Answer]) -> list[datetime]:
        """Return the times of the messages that are not settled: they are read again."""
        waiting = []
        for message in messages:
            if take(message) is Answer.RETRY:
                waiting.append(message.stored_at)
            else:
                self._done[message.key] = message.stored_at
        return waiting

    def _advance(self, rows: list[dict[str, Any]], waiting: list[datetime]) -> None:
        """Read on next time after the last row if there are more. Else from the newest row on, with
        an overlap, or from the first that waits."""
        first = [] if self._cut is None or self._first_waiting is None else [self._first_waiting]
        self._first_waiting = min([*first, *waiting], default=None)
        self._cut = _last(rows) if len(rows) >= MOST_ROWS else None
        since = _time(self.since)
        if rows:
            newest = _time(rows[-1]["seen"]) - (timedelta(0) if self._cut else OVERLAP)
            since = max(since, min(newest, self._first_waiting or newest))
            last = _time(rows[-1]["seen"])
            self._read_to = f"{min(last, self._first_waiting or last):{TIME}}"
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


def _last(rows: list[dict[str, Any]]) -> Place:
    return Place(rows[-1]["seen"], rows[-1]["feed"], rows[-1]["signal_id"])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
