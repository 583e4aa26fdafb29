"""What happens at the terminals without our asking: seen by their orders files, told as events.

One look at all files each LOOK_SECONDS, in one thread. What is open and has changed is told then,
a stop or target that a position has lost as well; for what is no longer open the history is asked
for, one command. So an event waits at most LOOK_SECONDS after the expert advisor has written it (it
does within its timer, 25 ms), plus that command. What happened while nobody looked is found by the
comparison that every new owner of a terminal makes, and what happened in the SINCE before the first
look is told.
"""

import asyncio
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
SINCE = timedelta(minutes=2)
MAX_REPORTS = 10_000  # in this process, not acknowledged; beyond them the oldest go
MAX_REPORTED = 2_000  # executions that are remembered as told, of each terminal; none beyond SINCE
RETRY_SECONDS = (1.0, 60.0)  # after a look that failed, doubled each time
MAX_READ = 250_000  # bytes, some 700 open orders; a larger file keeps no other terminal waiting
ORDERS = "DWX_Orders.txt"


@dataclass(eq=False, slots=True)
class WatchedTerminal:
    """One terminal. mark: how far it has been told; told: executions since then and when; levels:
    which ones each position had when they were last told, by its first ticket."""

    line: DwxClient
    mark: SyncMark | None = None
    levels: dict[int, HeldLevelFlags] = field(default_factory=dict)
    before: Any = None
    since: datetime = field(default_factory=lambda: datetime.now(UTC) - SINCE)
    reported: dict[str, datetime] = field(default_factory=dict)
    not_before: float = 0.0
    pause: float = RETRY_SECONDS[0]
    is_busy: bool = False
    is_behind: bool = False


class FileWatcher:
    """All terminals that this process holds. It looks on the event loop of whoever adds one."""

    def __init__(self) -> None:
        self.event_buffer = EventBuffer(MAX_REPORTS)
        self._watched: dict[str, WatchedTerminal] = {}
        self._tried: dict[str, float] = {}  # when a connection's terminal was last tried to be held
        self._tasks: dict[asyncio.Task[None], str] = {}  # with the connection that each is for
        self._poller: asyncio.Task[None] | None = None

    def add(self, line: DwxClient) -> None:
        """Watch a connection's terminal from now on."""
        known = self._watched.get(line.spec.connection_id)
        if known is None or known.line.terminal is not line.terminal:
            self._watched[line.spec.connection_id] = WatchedTerminal(line)
        else:
            known.line = line  # its settings may have changed
        loop = asyncio.get_running_loop()
        if self._poller is None or self._poller.done() or self._poller.get_loop() is not loop:
            for one in self._watched.values():
                one.is_busy = False
            self._poller = loop.create_task(self._poll_forever())

    def take_and_watch(self, line: DwxClient) -> None:
        """Take a terminal that is only read as yet for this process, and watch it: beside whoever
        reads, who does not wait for it. Where another process has it nothing happens."""
        known = self._watched.get(line.spec.connection_id)
        due = time.monotonic() >= self._tried.get(line.spec.connection_id, 0.0) + RETRY_SECONDS[1]
        if (known is None or known.line.terminal is not line.terminal) and due:
            self._tried[line.spec.connection_id] = time.monotonic()
            self._begin(line, self._take_and_watch(line))

    async def _take_and_watch(self, line: DwxClient) -> None:
        try:
            if line.spec.connection_id in self._tried:  # it was not let go before we began
                async with line.terminal.turn():
                    self.add(line)
        except TerminalUnavailableError:
            pass  # whoever needs a command is told

    def _begin(self, line: DwxClient, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = line.spec.connection_id
        task.add_done_callback(self._tasks.pop)

    async def drop(self, connection_id: str | None = None) -> None:
        """Watch a terminal, or all, no longer. What this loop does for it has ended afterwards: a
        loop that stands still then leaves nothing under way."""
        gone = [connection_id] if connection_id else [*self._watched, *self._tried]
        for one in gone:
            self._watched.pop(one, None)
            self._tried.pop(one, None)
        ending = [task for task, owner_id in self._tasks.items() if owner_id in gone]
        if self._poller is not None and not self._watched:
            ending.append(self._poller)
            self._poller = None
        await _end(ending)

    def report_books(self, line: DwxClient, books: Mt4Reports) -> None:
        """Tell what somebody has just learned of this terminal."""
        one = self._watched.get(line.spec.connection_id)
        if one is None:
            return
        began, one.is_behind = datetime.now(UTC), True
        try:
            reports = books.changes_since(one.mark, one.since, one.reported)
            self._report_levels(one, books)
        except HistoryNeededError:
            return  # nobody's call fails for it, and it is looked at again
        one.is_behind = False
        one.mark, one.since = books.mark, began - SINCE
        for report in reports:
            self.event_buffer.push(report)
            one.reported |= {fill.broker_fill_id: fill.time for fill in report.fills}
        # What was executed before `since` is told again by no clock.
        kept = [(name, at) for name, at in one.reported.items() if at >= one.since]
        one.reported = dict(kept[-MAX_REPORTED:])

    def record_open(self, line: DwxClient, books: Mt4Reports) -> None:
        """Remember what somebody else has seen open: it may be gone before the next look."""
        one = self._watched.get(line.spec.connection_id)
        if one is None:
            return
        one.levels = {**levels_now(books.snapshot, books.roots_now), **one.levels}
        if one.mark is not None:
            # What is known as it was before is not told yet: the next look sees it change.
            one.mark = replace(one.mark, open={**open_now(books.snapshot), **one.mark.open})

    def set_levels(self, line: DwxClient, root: int, held: HeldLevels) -> None:
        """Remember what the answer to a change of ours tells: what differs from it later is told.
        What was seen meanwhile may be told before that answer, or after it."""
        one = self._watched.get(line.spec.connection_id)
        if one is not None and root in one.levels:
            has = HeldLevelFlags(held.stop_loss is not None, held.take_profit is not None)
            one.levels = {**one.levels, root: has}

    def _report_levels(self, one: WatchedTerminal, books: Mt4Reports) -> None:
        """Tell which levels positions of ours have gained or lost since this was last told: a
        broker may drop a stop that it has confirmed. Raises HiddenError."""
        for report in books.changed_levels(one.levels):
            self.event_buffer.push(report)
        one.levels = levels_now(books.snapshot, books.roots_now)

    def notifications(self) -> AsyncIterator[None]:
        """Ring at the beginning and whenever something new waits in `event_buffer`."""
        return self.event_buffer.notifications()

    async def _poll_forever(self) -> None:
        while self._watched:
            await asyncio.sleep(POLL_SECONDS)
            due = [one for one in self._watched.values() if not one.is_busy]
            for one in await asyncio.to_thread(_changed_terminals, due, time.monotonic()):
                one.is_busy = True
                self._begin(one.line, self._poll(one))

    async def _poll(self, one: WatchedTerminal) -> None:
        try:
            await self._report(one)
            one.pause = RETRY_SECONDS[0]
        except (TerminalUnavailableError, HistoryNeededError, BrokerError):
            one.before = None  # it is looked at again though its file may not change
            one.not_before = time.monotonic() + one.pause
            one.pause = min(RETRY_SECONDS[1], 2 * one.pause)
        finally:
            one.is_busy = False

    async def _report(self, one: WatchedTerminal) -> None:
        line = one.line
        if await self._report_from_open(one):
            return
        if self._watched.get(line.spec.connection_id) is not one:
            return  # it was let go: nothing may take its folder back
        async with line.terminal.turn():
            # Whoever had the turn before us, an exit of ours perhaps, may have asked, and told us.
            if not await self._report_from_open(one):
                await line.with_history()  # which is heard
        if one.is_behind:
            raise HistoryNeededError("not all of it can be told")

    async def _report_from_open(self, one: WatchedTerminal) -> bool:
        """Tell what needs no history. False: something has left, and only the history says how."""
        snapshot = await one.line.peek()
        if one.mark is None:
            return False
        now = open_now(snapshot)
        if now == one.mark.open and _has_same_levels(one, snapshot):
            return True
        books = await one.line.look(snapshot)
        try:
            self._report_levels(one, books)  # without the history: it may take long, or not come
        except HistoryNeededError:
            return False
        if now != one.mark.open:
            if not one.line.shows_all(one.mark.open, now):
                return False
            self.report_books(one.line, books)
        return True


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel those of this loop and wait for their end; others' loops have ended before."""
    mine = [task for task in tasks if task.get_loop() is asyncio.get_running_loop()]
    for task in mine:
        task.cancel()
    await asyncio.gather(*mine, return_exceptions=True)


def _changed_terminals(watched: list[WatchedTerminal], now: float) -> list[WatchedTerminal]:
    """Those whose orders file was written since the last look and shows anything else than what has
    been told: it is written each second, whether anything happens or not. Touches the disk."""
    found = []
    for one in watched:
        if now < one.not_before:
            continue
        written = signature(one.line.terminal.folder / ORDERS)
        if written is not None and written != one.before:
            one.before = written
            if written[1] <= MAX_READ and _shows_only_reported(one):
                one.pause = RETRY_SECONDS[0]
            else:
                found.append(one)
    return found


def _shows_only_reported(one: WatchedTerminal) -> bool:
    mark, terminal = one.mark, one.line.terminal
    _, found = read_if_changed(terminal.folder / ORDERS, terminal.dialect.snapshot)
    if mark is None or found is None:
        return False
    if found.account.number != one.line.spec.account or not _has_same_levels(one, found):
        return False
    return open_now(found) == mark.open


def _has_same_levels(one: WatchedTerminal, snapshot: Snapshot) -> bool:
    """Whether its positions have the levels that were last told."""
    return levels_now(snapshot, one.line.terminal.roots) == one.levels
