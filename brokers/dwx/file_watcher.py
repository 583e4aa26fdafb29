"""Watch the terminals' orders files, and report changes that we did not request as events.

One thread checks all files every POLL_SECONDS, those of terminals where something is open every
OPEN_SECONDS: what works or is held changes without a request of ours, and a check that finds no
write is one `stat`. A change of what is open, also a stop or target that a position has lost, is
reported at once; for a ticket that is no longer open it reads the history with one command. So an
event is at most OPEN_SECONDS later than the expert advisor's write (within its timer, 25 ms), plus
that command; the more terminals, the later, by OPEN_TERMINAL_SECONDS each. What waits in a mark is
read again when it is due. Changes while no process was watching are found by the comparison that
each new owner of a terminal makes; changes within SINCE before the first check are reported.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from brokers.base import BrokerError
from brokers.dwx.client import DwxClient
from brokers.dwx.folders import TerminalUnavailableError
from brokers.dwx.mt4_reports import Mt4Reports
from brokers.dwx.parse import Snapshot
from brokers.dwx.shared_files import read_if_changed, signature
from brokers.dwx.sync_marks import HeldLevelFlags, SyncMark, levels_now, open_now
from brokers.dwx.terminal_state import HistoryNeededError
from brokers.event_buffer import EventBuffer
from brokers.types import HeldLevels

POLL_SECONDS = 0.25
OPEN_SECONDS = 0.025  # where something is open
OPEN_TERMINAL_SECONDS = 0.0005  # for each of them at least, so that many do not cost a processor
SINCE = timedelta(minutes=2)
MAX_REPORTS = 10_000  # not acknowledged, in this process; then the oldest are dropped
MAX_REPORTED = 2_000  # executions remembered as reported, of each terminal; none before SINCE
RETRY_SECONDS = (1.0, 60.0)  # after a check that failed, doubled each time
MAX_READ = 250_000  # bytes, some 700 open orders; a larger file must not delay other terminals
ORDERS = "DWX_Orders.txt"


@dataclass(eq=False, slots=True)
class WatchedTerminal:
    """One terminal. mark: how far it was reported; reported: executions since then with their
    times; levels: which ones each position had at the last report, by its first ticket."""

    client: DwxClient
    mark: SyncMark | None = None
    levels: dict[int, HeldLevelFlags] = field(default_factory=dict)
    before: Any = None
    since: datetime = field(default_factory=lambda: datetime.now(UTC) - SINCE)
    reported: dict[str, datetime] = field(default_factory=dict)
    not_before: float = 0.0
    pause: float = RETRY_SECONDS[0]
    is_busy: bool = False
    is_behind: bool = False

    @property
    def has_open(self) -> bool:
        """Whether something works or is held there."""
        return self.mark is not None and bool(self.mark.open)


class FileWatcher:
    """All terminals that this process has locked. It runs on the event loop that adds one."""

    def __init__(self) -> None:
        self.event_buffer = EventBuffer(MAX_REPORTS)
        self._watched: dict[str, WatchedTerminal] = {}
        self._tried: dict[str, float] = {}  # last attempt to lock a connection's terminal
        self._tasks: dict[asyncio.Task[None], str] = {}  # each with its connection
        self._poller: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()  # where nothing was open, something is

    def add(self, client: DwxClient) -> None:
        """Watch a connection's terminal from now on."""
        known = self._watched.get(client.spec.connection_id)
        if known is None or known.client.terminal is not client.terminal:
            self._watched[client.spec.connection_id] = WatchedTerminal(client)
        else:
            known.client = client  # its settings may have changed
        loop = asyncio.get_running_loop()
        if self._poller is None or self._poller.done() or self._poller.get_loop() is not loop:
            for one in self._watched.values():
                one.is_busy = False
            self._opened = asyncio.Event()
            self._poller = loop.create_task(self._poll_forever())

    def take_and_watch(self, client: DwxClient) -> None:
        """Lock a terminal for this process and watch it, in the background.

        If another process has it, nothing happens."""
        known = self._watched.get(client.spec.connection_id)
        due = time.monotonic() >= self._tried.get(client.spec.connection_id, 0.0) + RETRY_SECONDS[1]
        if (known is None or known.client.terminal is not client.terminal) and due:
            self._tried[client.spec.connection_id] = time.monotonic()
            self._begin(client, self._take_and_watch(client))

    async def _take_and_watch(self, client: DwxClient) -> None:
        try:
            if client.spec.connection_id in self._tried:  # it was not dropped meanwhile
                async with client.terminal.turn():
                    self.add(client)
        except TerminalUnavailableError:
            pass  # a caller that needs a command gets the error itself

    def _begin(self, client: DwxClient, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = client.spec.connection_id
        task.add_done_callback(self._tasks.pop)

    async def drop(self, connection_id: str | None = None) -> None:
        """Stop to watch a terminal, or all of them. Their tasks of this loop have ended when it
        returns."""
        gone = [connection_id] if connection_id else [*self._watched, *self._tried]
        for one in gone:
            self._watched.pop(one, None)
            self._tried.pop(one, None)
        ending = [task for task, owner_id in self._tasks.items() if owner_id in gone]
        if self._poller is not None and not self._watched:
            ending.append(self._poller)
            self._poller = None
        await _end(ending)

    def report_books(self, client: DwxClient, books: Mt4Reports) -> None:
        """Report what a call has just read from this terminal."""
        one = self._watched.get(client.spec.connection_id)
        if one is None:
            return
        began, one.is_behind = datetime.now(UTC), True
        try:
            reports = books.changes_since(one.mark, one.since, one.reported)
            self._report_levels(one, books)
        except HistoryNeededError:
            return  # the call must not fail for it; the next check reads the history
        one.is_behind = False
        self._note_opened(one, books)
        one.mark, one.since = books.mark, began - SINCE
        for report in reports:
            self.event_buffer.push(report)
            one.reported |= {fill.broker_fill_id: fill.time for fill in report.fills}
        # Executions before `since` cannot be reported again.
        kept = [(name, at) for name, at in one.reported.items() if at >= one.since]
        one.reported = dict(kept[-MAX_REPORTED:])

    def record_open(self, client: DwxClient, books: Mt4Reports) -> None:
        """Store what a call has read as open: it may be gone at the next check."""
        one = self._watched.get(client.spec.connection_id)
        if one is None:
            return
        self._note_opened(one, books)
        one.levels = {**levels_now(books.snapshot, books.roots_now), **one.levels}
        if one.mark is not None:
            # Keep the earlier state of what is known: the next check then reports its change.
            one.mark = replace(one.mark, open={**open_now(books.snapshot), **one.mark.open})

    def _note_opened(self, one: WatchedTerminal, books: Mt4Reports) -> None:
        if books.snapshot.tickets and not one.has_open:
            self._opened.set()

    def set_levels(self, client: DwxClient, root: int, held: HeldLevels) -> None:
        """Store the levels after a change of ours, so that only later differences are reported."""
        one = self._watched.get(client.spec.connection_id)
        if one is not None and root in one.levels:
            has = HeldLevelFlags(held.stop_loss is not None, held.take_profit is not None)
            one.levels = {**one.levels, root: has}

    def _report_levels(self, one: WatchedTerminal, books: Mt4Reports) -> None:
        """Report which levels our positions have gained or lost since the last report: a broker may
        drop a stop that it has confirmed. Raises HistoryNeededError."""
        for report in books.changed_levels(one.levels):
            self.event_buffer.push(report)
        one.levels = levels_now(books.snapshot, books.roots_now)

    def notifications(self) -> AsyncIterator[None]:
        """Yield at the beginning and whenever `event_buffer` has something new."""
        return self.event_buffer.notifications()

    async def _poll_forever(self) -> None:
        all_at = time.monotonic()
        while self._watched:
            await self._pause(all_at + POLL_SECONDS - time.monotonic())
            checks_all = time.monotonic() >= all_at + POLL_SECONDS
            if checks_all:
                all_at = time.monotonic()
            due = [
                one
                for one in self._watched.values()
                if not one.is_busy and (checks_all or one.has_open)
            ]
            for one in await asyncio.to_thread(_changed_terminals, due, time.monotonic()):
                one.is_busy = True
                self._begin(one.client, self._poll(one))

    async def _pause(self, seconds: float) -> None:
        """Wait until the next check: for so long if nothing is open and nothing is opened."""
        self._opened.clear()
        if many := sum(one.has_open for one in self._watched.values()):
            often = max(OPEN_SECONDS, many * OPEN_TERMINAL_SECONDS)
            await asyncio.sleep(max(0.0, min(seconds, often)))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._opened.wait()

    async def _poll(self, one: WatchedTerminal) -> None:
        try:
            await self._report(one)
            one.pause = RETRY_SECONDS[0]
        except (TerminalUnavailableError, HistoryNeededError, BrokerError):
            one.before = None  # check it again even if its file does not change
            one.not_before = time.monotonic() + one.pause
            one.pause = min(RETRY_SECONDS[1], 2 * one.pause)
        finally:
            one.is_busy = False

    async def _report(self, one: WatchedTerminal) -> None:
        client = one.client
        if await self._report_from_open(one):
            return
        if self._watched.get(client.spec.connection_id) is not one:
            return  # it was dropped: do not lock its folder again
        async with client.terminal.turn():
            # The call that had the turn before, such as an exit, may have read the history already.
            if not await self._report_from_open(one):
                await client.with_history()  # it calls `report_books`
        if one.is_behind:
            raise HistoryNeededError("the history does not explain all changes")

    async def _report_from_open(self, one: WatchedTerminal) -> bool:
        """Report changes that need no history. Return False if a ticket is gone: only the history
        shows how."""
        snapshot = await one.client.latest_snapshot()
        if one.mark is None:
            return False
        now = open_now(snapshot)
        if one.mark.is_due(datetime.now(UTC)):
            return False
        if now == one.mark.open and _has_same_levels(one, snapshot):
            return True
        books = await one.client.open_books(snapshot)
        try:
            self._report_levels(one, books)  # before the history, which may take long or fail
        except HistoryNeededError:
            return False
        if now != one.mark.open:
            if not one.client.shows_all(one.mark.open, now):
                return False
            self.report_books(one.client, books)
        return True


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel the tasks of this loop and wait for their end; other loops have ended before."""
    own = [task for task in tasks if task.get_loop() is asyncio.get_running_loop()]
    for task in own:
        task.cancel()
    await asyncio.gather(*own, return_exceptions=True)


def _changed_terminals(watched: list[WatchedTerminal], now: float) -> list[WatchedTerminal]:
    """Return the terminals whose orders file shows a change that was not reported. Accesses the
    disk. The expert advisor writes the file each second, also without a change."""
    found = []
    for one in watched:
        if now < one.not_before:
            continue
        written = signature(one.client.terminal.folder / ORDERS)
        if written is not None and written != one.before:
            one.before = written
            if written[1] <= MAX_READ and _shows_only_reported(one):
                one.pause = RETRY_SECONDS[0]
            else:
                found.append(one)
    return found


def _shows_only_reported(one: WatchedTerminal) -> bool:
    mark, terminal = one.mark, one.client.terminal
    _, found = read_if_changed(terminal.folder / ORDERS, terminal.platform.snapshot)
    if mark is None or found is None or mark.is_due(datetime.now(UTC)):
        return False
    if found.account.number != one.client.spec.account or not _has_same_levels(one, found):
        return False
    return open_now(found) == mark.open


def _has_same_levels(one: WatchedTerminal, snapshot: Snapshot) -> bool:
    """Whether its positions have the levels of the last report."""
    return levels_now(snapshot, one.client.terminal.roots) == one.levels
