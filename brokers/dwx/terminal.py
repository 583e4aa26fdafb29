"""One terminal: its folder, whose it is, and one command at a time.

The expert advisor has one thread. It takes a command file away, carries the command out, and only
then writes its orders file: an orders file that was written after the command had vanished shows
what the command did. Replies name no command, so there is only ever one under way, in slot 0; and
after one whose end we do not know the next waits until the expert advisor has written again.

A command file that vanished proves nothing by itself: a starting expert advisor deletes them all.
"""

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from brokers.base import NotSent, OutcomeUnknown
from brokers.dwx import disk, parse
from brokers.dwx.ages import Ages
from brokers.dwx.dialect import MT4, Dialect
from brokers.dwx.files import Pulse, changed, gone, look, signature, until_next_look, whole
from brokers.dwx.folders import AwayError, HeldError
from brokers.dwx.intents import UNSENT, Intent
from brokers.dwx.ledger import Ledger
from brokers.dwx.numbers import Numbers
from brokers.dwx.parse import Message, Snapshot
from brokers.dwx.past import Past
from brokers.dwx.patience import Patience, Sent, messages_now
from brokers.room import ROOM, Room
from common.codes import Code

DAYS = 3650
OF_PRICES = "GET_BID_ASK"  # an error that comes by itself, about no command


class Terminal:
    """The expert advisor behind one folder. Made once in a process for each folder."""

    def __init__(self, folder: Path, dialect: Dialect = MT4, room: Room = ROOM) -> None:
        self.folder, self.dialect, own = folder, dialect, folder / "fillcast"
        self.patience = Patience()
        self.ledger = Ledger(own / "ledger.jsonl", room)
        self.roots: dict[int, int] = {}  # of open tickets: the ticket that the position began as
        self.oldest = time.time()  # when the oldest ticket that was ever seen here was opened
        self._orders, self._messages = folder / "DWX_Orders.txt", folder / "DWX_Messages.txt"
        self._history, self._past = folder / "DWX_Historic_Trades.txt", Past()
        self._slot = folder / "DWX_Commands_0.txt"
        self._withdrawn = own / "withdrawn.txt"
        self.prices, self.watched = folder / "DWX_Market_Data.txt", set[str]()
        self.ages = Ages()
        self.unfit: AwayError | None = None  # what was seen that forbids entries
        self.unread = b""  # the messages, where the last look could not make sense of them
        self.barred = ""  # why the terminal itself refused to trade, the last time we tried
        self._pulse, self._market = Pulse(self._orders), Pulse(self.prices)
        self._busy, self._claiming = threading.Lock(), threading.Lock()
        self._line: deque[object] = deque()  # who waits for a turn, the first first
        self._held: int | None = None
        self._session, self._numbers = 0, Numbers(self.ledger)
        self._settled = self._is_known = False

    # ---- reading --------------------------------------------------------------------------
    async def orders(self) -> Snapshot:
        """Return what is open, no older than `patience.stale`. Raises AwayError."""
        age, (mark, found) = await asyncio.to_thread(
            lambda: (self._pulse.age(), look(self._orders, self.dialect.snapshot))
        )
        if age > self.patience.stale:
            return (await self.orders_after(mark))[1]
        return found or await self.latest()

    async def latest(self) -> Snapshot:
        """Return what was open when it was last written, whenever that was. Raises AwayError."""
        return await whole(self._orders, self.dialect.snapshot, self.patience.stale)

    async def orders_after(self, before: Any, seconds: float | None = None) -> tuple[Any, Snapshot]:
        """Return `glance` at a file written since it had this signature. Raises AwayError."""
        patience, began = seconds or self.patience.stale, time.monotonic()
        while True:
            mark, found = await asyncio.to_thread(look, self._orders, self.dialect.snapshot, before)
            if mark not in (before, None):
                return mark, found or await self.latest()
            if time.monotonic() > began + patience:
                said = f"The expert advisor has written nothing for {patience:.1f} seconds."
                raise AwayError(Code.NOT_CONNECTED, said)
            await until_next_look(began)

    async def glance(self) -> tuple[Any, Snapshot]:
        """The orders file's signature, and `latest` after it. Raises AwayError."""
        mark, found = await asyncio.to_thread(look, self._orders, self.dialect.snapshot)
        return mark, found or await self.latest()

    async def mark(self) -> Any:
        """The orders file's signature now, for `orders_after`."""
        return await asyncio.to_thread(signature, self._orders)

    async def market_age(self) -> float:
        """Seconds since a price last changed: while they move, the terminal has its broker."""
        return await asyncio.to_thread(self._market.age)

    async def news(self, sent: Sent) -> list[Message]:
        """Return the messages since a command left, oldest first. None is a normal case."""
        try:
            found = await whole(self._messages, parse.messages, 0)
        except AwayError as error:
            self.unread = error.raw or self.unread
            return []
        self.unread = b""
        return [one for one in found if (one.key, one.text) not in sent.before]

    # ---- whose turn -----------------------------------------------------------------------
    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold the terminal for one command and its outcome, in the order of asking. Raises
        AwayError: another process has the folder, it is busy, or nobody is there."""
        began, session = time.monotonic(), self._session
        await self._wait_for_turn(began)
        try:
            if self._held is None or session != self._session:
                await asyncio.to_thread(self._claim, session)
            if not (self._settled and self._is_known):
                await self._settle()
            yield
        finally:
            self._busy.release()

    async def _wait_for_turn(self, began: float) -> None:
        place = object()
        self._line.append(place)
        try:
            while self._line[0] is not place or not self._busy.acquire(blocking=False):
                if time.monotonic() > began + self.patience.answer + self.patience.take:
                    said = "The terminal is busy with earlier commands."
                    raise AwayError(Code.NOT_CONNECTED, said)
                await until_next_look(began)
        finally:
            self._line.remove(place)

    def settled(self) -> None:
        """The last command's outcome has been seen."""
        self._settled = True

    def release(self) -> None:
        """Let another process have the folder. Nothing that was begun before takes it back."""
        with self._claiming:
            self._session += 1
            if self._held is not None:
                os.close(self._held)
            self._held, self._settled = None, False

    def _claim(self, session: int) -> None:
        with self._claiming:
            if session != self._session:
                raise AwayError(Code.NOT_CONNECTED, "The session was ended meanwhile.")
            if self._held is not None:
                return
            try:
                held = disk.locked_file(disk.own_folder(self.folder) / "owner.lock")
                if held is None:
                    said = "Another process of Fillcast has this terminal's folder."
                    raise HeldError(Code.NOT_CONNECTED, said)
                try:
                    self._numbers.begin()
                except BaseException:
                    os.close(held)  # whoever has the folder can use it
                    raise
                self._held = held
            except OSError as error:
                raise AwayError(Code.NOT_CONNECTED, f"The folder fails: {error}") from error

    async def _settle(self) -> None:
        """Wait until whatever was asked before, by us or by a process before us, has ended."""
        if not await gone(self._slot, self.patience.take):
            await asyncio.to_thread(disk.move_away, self._slot, self._withdrawn)
        await self.orders_after(await self.mark())
        if not self._is_known:
            await self.history(DAYS)  # refuses the other MetaTrader before anything is traded
            if self.dialect.by_deals and not await whole(self._history, parse.load, 0):
                said = "The history is empty, not even a deposit: whose it is cannot be told."
                raise AwayError(Code.NOT_CONNECTED, said)
        self._settled = self._is_known = True

    # ---- commands -------------------------------------------------------------------------
    def next_number(self) -> int:
        """A command's number: one of the last thousand that comes again is ignored."""
        return self._numbers.next()

    async def send(
        self,
        number: int,
        command: str,
        content: str,
        leave: Callable[[], None],
        intent: Intent | None = None,
    ) -> Sent:
        """Put a command into slot 0. In a turn only. leave: the last look; raises NotSent.
        Raises NotSent or OutcomeUnknown."""
        # A file of its own: the thread of a call that was given up may still be writing another's.
        ready = self.folder / "fillcast" / f"next-{number}.txt"
        text = f"<:{number}|{command}|{content}:>"
        try:
            before = await asyncio.to_thread(self._prepare, ready, text, intent)
        except OSError as error:
            raise NotSent(Code.NOT_CONNECTED, f"The folder fails: {error}") from error
        try:
            leave()
            os.replace(ready, self._slot)  # the write: the file is there whole or not at all
        except (NotSent, OSError) as error:
            if isinstance(error, OSError) and not await asyncio.to_thread(ready.exists):
                self._settled = False  # a network disk may fail after it has done it
                raise OutcomeUnknown(Code.REPLY_LOST, f"The folder fails: {error}") from error
            if intent:
                await self.ended(number, UNSENT)
            await asyncio.to_thread(ready.unlink, missing_ok=True)
            if isinstance(error, NotSent):
                raise
            raise NotSent(Code.NOT_CONNECTED, f"The folder fails: {error}") from error
        self._settled, self.unread = False, b""
        return Sent(number, before)

    async def taken(self, sent: Sent) -> bool:
        """Wait until a command has been taken. False: it was withdrawn and provably never read.

        Raises AwayError where neither is known.
        """
        if await gone(self._slot, self.patience.take):
            return True
        try:
            if not await asyncio.to_thread(disk.move_away, self._slot, self._withdrawn):
                return True
            # It may have been read before we moved it: the file is deleted after the reading.
            # So the expert advisor must get through its round, and then not know the number yet.
            await self.orders_after(await self.mark())
            return await self._knows(sent.number)
        except (AwayError, OSError) as error:
            said = f"Withdrawn, but it may have been read: {error}"
            raw = error.raw if isinstance(error, AwayError) else b""
            raise AwayError(Code.REPLY_LOST, said, raw) from error

    async def ended(self, number: int, how: str) -> None:
        """Note how a command certainly ended."""
        try:
            await asyncio.to_thread(self.ledger.end, number, how)
        except OSError:
            pass  # it then counts as one that may have had: looked up, and never sent blindly

    async def history(self, days: int) -> tuple[Any, ...]:
        """Ask for what was closed of that opened in so many days. In a turn. Raises AwayError."""
        before = await asyncio.to_thread(signature, self._history)
        sent = await self._ask(self.next_number(), "GET_HISTORIC_TRADES", str(min(days, DAYS)))
        if not sent or not await changed(self._history, before, self.patience.answer):
            raise AwayError(Code.NOT_CONNECTED, "The expert advisor did not tell the history.")
        self._settled = True  # it has come to this command, so none before it is under way
        read = partial(self.dialect.history, self._past)
        return await whole(self._history, read, self.patience.stale)

    async def ask(self, command: str, content: str) -> list[Message]:
        """Send a command that trades nothing; return the messages that follow, if any. In a turn.
        Raises AwayError."""
        sent = await self._ask(self.next_number(), command, content)
        if sent is None:
            raise AwayError(Code.NOT_CONNECTED, "The expert advisor takes no commands.")
        began = time.monotonic()
        while True:
            found = [one for one in await self.news(sent) if one.kind != OF_PRICES]
            self._settled = bool(found)
            if found or time.monotonic() > began + self.patience.stale:
                return found
            await until_next_look(began)

    async def _ask(self, number: int, command: str, content: str) -> Sent | None:
        try:
            sent = await self.send(number, command, content, lambda: None)
        except (NotSent, OutcomeUnknown) as error:
            raise AwayError(error.code, error.detail) from error
        if await gone(self._slot, self.patience.take):
            return sent
        await asyncio.to_thread(disk.move_away, self._slot, self._withdrawn)
        return None

    async def _knows(self, number: int) -> bool:
        """Whether the expert advisor has read a command of this number: it ignores a second one.

        Raises AwayError.
        """
        before = await asyncio.to_thread(signature, self._history)
        if await self._ask(number, "GET_HISTORIC_TRADES", "1") is None:
            raise AwayError(Code.NOT_CONNECTED, "The expert advisor takes no commands.")
        known = not await changed(self._history, before, self.patience.stale)
        self._settled = not known
        return known

    def _prepare(self, ready: Path, text: str, intent: Intent | None) -> frozenset[tuple[int, str]]:
        if self._slot.exists():
            raise FileExistsError("another program writes commands into this folder")
        if self._numbers.are_due:
            with self._claiming:  # a call that was given up rewrites nobody else's ledger
                if self._held is None:
                    raise OSError("the folder was let go meanwhile")
                self._numbers.reserve()
        before = messages_now(self._messages)
        disk.remove_older(ready)  # of calls that were given up
        if intent is not None:
            self.ledger.write(intent)
        disk.create(ready, text.encode("ascii", "replace"))
        return before
