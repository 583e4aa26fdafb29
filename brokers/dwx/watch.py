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
from brokers.dwx.files import look, signature
from brokers.dwx.folders import AwayError
from brokers.dwx.known import HiddenError
from brokers.dwx.line import Line
from brokers.dwx.marks import Has, Mark, levels_now, open_now
from brokers.dwx.parse import Snapshot
from brokers.dwx.reports import Books
from brokers.messages import HeldLevels
from brokers.news import News

LOOK_SECONDS = 0.25
SINCE = timedelta(minutes=2)
MOST_REPORTS = 10_000  # in this process, not acknowledged; beyond them the oldest go
MOST_TOLD = 2_000  # executions that are remembered as told, of each terminal; none beyond SINCE
AGAIN_SECONDS = (1.0, 60.0)  # after a look that failed, doubled each time
MOST_READ = 250_000  # bytes, some 700 open orders; a larger file keeps no other terminal waiting
ORDERS = "DWX_Orders.txt"


@dataclass(eq=False, slots=True)
class Watched:
    """One terminal. mark: how far it has been told; told: executions since then and when; levels:
    which ones each position had when they were last told, by its first ticket."""

    line: Line
    mark: Mark | None = None
    levels: dict[int, Has] = field(default_factory=dict)
    before: Any = None
    since: datetime = field(default_factory=lambda: datetime.now(UTC) - SINCE)
    told: dict[str, datetime] = field(default_factory=dict)
    not_before: float = 0.0
    pause: float = AGAIN_SECONDS[0]
    is_busy: bool = False
    is_behind: bool = False


class Watch:
    """All terminals that this process holds. It looks on the event loop of whoever adds one."""

    def __init__(self) -> None:
        self.news = News(MOST_REPORTS)
        self._watched: dict[str, Watched] = {}
        self._tried: dict[str, float] = {}  # when a connection's terminal was last tried to be held
        self._tasks: dict[asyncio.Task[None], str] = {}  # with the connection that each is for
        self._looker: asyncio.Task[None] | None = None

    def add(self, line: Line) -> None:
        """Watch a connection's terminal from now on."""
        known = self._watched.get(line.spec.connection_id)
        if known is None or known.line.terminal is not line.terminal:
            self._watched[line.spec.connection_id] = Watched(line)
        else:
            known.line = line  # its settings may have changed
        loop = asyncio.get_running_loop()
        if self._looker is None or self._looker.done() or self._looker.get_loop() is not loop:
            for one in self._watched.values():
                one.is_busy = False
            self._looker = loop.create_task(self._look_always())

    def hold(self, line: Line) -> None:
        """Take a terminal that is only read as yet for this process, and watch it: beside whoever
        reads, who does not wait for it. Where another process has it nothing happens."""
        known = self._watched.get(line.spec.connection_id)
        due = time.monotonic() >= self._tried.get(line.spec.connection_id, 0.0) + AGAIN_SECONDS[1]
        if (known is None or known.line.terminal is not line.terminal) and due:
            self._tried[line.spec.connection_id] = time.monotonic()
            self._begin(line, self._hold(line))

    async def _hold(self, line: Line) -> None:
        try:
            if line.spec.connection_id in self._tried:  # it was not let go before we began
                async with line.terminal.turn():
                    self.add(line)
        except AwayError:
            pass  # whoever needs a command is told

    def _begin(self, line: Line, work: Coroutine[Any, Any, None]) -> None:
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
        ending = [task for task, whose in self._tasks.items() if whose in gone]
        if self._looker is not None and not self._watched:
            ending.append(self._looker)
            self._looker = None
        await _end(ending)

    def heard(self, line: Line, books: Books) -> None:
        """Tell what somebody has just learned of this terminal."""
        one = self._watched.get(line.spec.connection_id)
        if one is None:
            return
        began, one.is_behind = datetime.now(UTC), True
        try:
            reports = books.news(one.mark, one.since, one.told)
            self._tell_levels(one, books)
        except HiddenError:
            return  # nobody's call fails for it, and it is looked at again
        one.is_behind = False
        one.mark, one.since = books.mark, began - SINCE
        for report in reports:
            self.news.push(report)
            one.told |= {fill.broker_fill_id: fill.time for fill in report.fills}
        # What was executed before `since` is told again by no clock.
        kept = [(name, at) for name, at in one.told.items() if at >= one.since]
        one.told = dict(kept[-MOST_TOLD:])

    def saw(self, line: Line, books: Books) -> None:
        """Remember what somebody else has seen open: it may be gone before the next look."""
        one = self._watched.get(line.spec.connection_id)
        if one is None:
            return
        one.levels = {**levels_now(books.snapshot, books.roots_now), **one.levels}
        if one.mark is not None:
            # What is known as it was before is not told yet: the next look sees it change.
            one.mark = replace(one.mark, open={**open_now(books.snapshot), **one.mark.open})

    def set_levels(self, line: Line, root: int, held: HeldLevels) -> None:
        """Remember what the answer to a change of ours tells: what differs from it later is told.
        What was seen meanwhile may be told before that answer, or after it."""
        one = self._watched.get(line.spec.connection_id)
        if one is not None and root in one.levels:
            has = Has(held.stop_loss is not None, held.take_profit is not None)
            one.levels = {**one.levels, root: has}

    def _tell_levels(self, one: Watched, books: Books) -> None:
        """Tell which levels positions of ours have gained or lost since this was last told: a
        broker may drop a stop that it has confirmed. Raises HiddenError."""
        for report in books.changed_levels(one.levels):
            self.news.push(report)
        one.levels = levels_now(books.snapshot, books.roots_now)

    def rings(self) -> AsyncIterator[None]:
        """Ring at the beginning and whenever something new waits in `news`."""
        return self.news.rings()

    async def _look_always(self) -> None:
        while self._watched:
            await asyncio.sleep(LOOK_SECONDS)
            due = [one for one in self._watched.values() if not one.is_busy]
            for one in await asyncio.to_thread(_moved, due, time.monotonic()):
                one.is_busy = True
                self._begin(one.line, self._look(one))

    async def _look(self, one: Watched) -> None:
        try:
            await self._tell(one)
            one.pause = AGAIN_SECONDS[0]
        except (AwayError, HiddenError, BrokerError):
            one.before = None  # it is looked at again though its file may not change
            one.not_before = time.monotonic() + one.pause
            one.pause = min(AGAIN_SECONDS[1], 2 * one.pause)
        finally:
            one.is_busy = False

    async def _tell(self, one: Watched) -> None:
        line = one.line
        if await self._told_by_what_is_open(one):
            return
        if self._watched.get(line.spec.connection_id) is not one:
            return  # it was let go: nothing may take its folder back
        async with line.terminal.turn():
            # Whoever had the turn before us, an exit of ours perhaps, may have asked, and told us.
            if not await self._told_by_what_is_open(one):
                await line.with_history()  # which is heard
        if one.is_behind:
            raise HiddenError("not all of it can be told")

    async def _told_by_what_is_open(self, one: Watched) -> bool:
        """Tell what needs no history. False: something has left, and only the history says how."""
        snapshot = await one.line.peek()
        if one.mark is None:
            return False
        now = open_now(snapshot)
        if now == one.mark.open and _has_same_levels(one, snapshot):
            return True
        books = await one.line.look(snapshot)
        try:
            self._tell_levels(one, books)  # without the history: it may take long, or not come
        except HiddenError:
            return False
        if now != one.mark.open:
            if not one.line.shows_all(one.mark.open, now):
                return False
            self.heard(one.line, books)
        return True


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel those of this loop and wait for their end; others' loops have ended before."""
    mine = [task for task in tasks if task.get_loop() is asyncio.get_running_loop()]
    for task in mine:
        task.cancel()
    await asyncio.gather(*mine, return_exceptions=True)


def _moved(watched: list[Watched], now: float) -> list[Watched]:
    """Those whose orders file was written since the last look and shows anything else than what has
    been told: it is written each second, whether anything happens or not. Touches the disk."""
    found = []
    for one in watched:
        if now < one.not_before:
            continue
        written = signature(one.line.terminal.folder / ORDERS)
        if written is not None and written != one.before:
            one.before = written
            if written[1] <= MOST_READ and _shows_what_was_told(one):
                one.pause = AGAIN_SECONDS[0]
            else:
                found.append(one)
    return found


def _shows_what_was_told(one: Watched) -> bool:
    mark, terminal = one.mark, one.line.terminal
    _, found = look(terminal.folder / ORDERS, terminal.dialect.snapshot)
    if mark is None or found is None:
        return False
    if found.account.number != one.line.spec.account or not _has_same_levels(one, found):
        return False
    return open_now(found) == mark.open


def _has_same_levels(one: Watched, snapshot: Snapshot) -> bool:
    """Whether its positions have the levels that were last told."""
    return levels_now(snapshot, one.line.terminal.roots) == one.levels
