"""One terminal: its folder and the lock on it, and one command at a time.

The expert advisor has one thread. It removes a command file, carries the command out, and only then
writes its orders file: an orders file written after the command was removed shows the command's
effect. Replies name no command, so there is only one command at a time, in slot 0; after a command
with an unknown end, the next one waits until the expert advisor has written again.

That a command file is gone proves nothing alone: a starting expert advisor deletes all of them.
"""

import asyncio
import math
import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from brokers.base import NotSent, OutcomeUnknown
from brokers.dwx import file_io, parse
from brokers.dwx.command_ids import CommandIds
from brokers.dwx.command_journal import CommandJournal
from brokers.dwx.first_seen import FirstSeen
from brokers.dwx.folders import FolderInUseError, TerminalUnavailableError
from brokers.dwx.history_cache import TerminalHistory
from brokers.dwx.market_data_file import QuoteAges
from brokers.dwx.mt_platform import MT4, Platform
from brokers.dwx.parse import Message, Snapshot
from brokers.dwx.sent_commands import UNSENT, SentCommand
from brokers.dwx.shared_files import (
    FileAge,
    read_if_changed,
    read_whole,
    signature,
    wait_for_next_poll,
    wait_until_changed,
    wait_until_gone,
)
from brokers.dwx.sync_marks import WaitingClose
from brokers.dwx.timeouts import SentMark, Timeouts, messages_now
from brokers.record_cache import RECORD_CACHE, RecordCache
from brokers.types import Side
from common.clocks import machine_time
from common.reason_codes import Code

DAYS = 3650
OF_PRICES = "GET_BID_ASK"  # an error that belongs to no command


class Terminal:
    """The expert advisor of one folder. A process has one instance for each folder."""

    def __init__(
        self, folder: Path, platform: Platform = MT4, record_cache: RecordCache = RECORD_CACHE
    ) -> None:
        self.folder, self.platform, own = folder, platform, folder / "fillcast"
        self.timeouts = Timeouts()
        self.journal = CommandJournal(own / "ledger.jsonl", record_cache)
        self.roots: dict[int, int] = {}  # of open tickets: the ticket that the position began as
        self.sides: dict[int, Side] = {}  # of the same tickets
        self.oldest = time.time()  # when the oldest ticket that was ever seen here was opened
        self._orders, self._messages = folder / "DWX_Orders.txt", folder / "DWX_Messages.txt"
        self._history, self._past = folder / "DWX_Historic_Trades.txt", TerminalHistory()
        self.history_seconds = 0.0  # that the last read took; infinite: it was not answered
        self.first_seen = FirstSeen()
        self.waiting_closes: Mapping[int, WaitingClose] = {}  # at the last read of the history
        self._slot = folder / "DWX_Commands_0.txt"
        self._withdrawn = own / "withdrawn.txt"
        self.prices, self.watched = folder / "DWX_Market_Data.txt", set[str]()
        self.ages = QuoteAges()
        self.unsupported: TerminalUnavailableError | None = (
            None  # what was seen that forbids entries
        )
        self.unreadable = b""  # the messages, where the last look could not make sense of them
        self.blocked = ""  # why the terminal itself refused to trade, the last time we tried
        self._pulse, self._market = FileAge(self._orders), FileAge(self.prices)
        self._busy, self._claiming = threading.Lock(), threading.Lock()
        self._queue: deque[object] = deque()  # who waits for a turn, the first first
        self._turn_changed = 0.0  # when a turn last began or ended, in monotonic seconds
        self._held: int | None = None
        self._session, self._numbers = 0, CommandIds(self.journal)
        self._settled = self._is_known = False

    # ---- reading --------------------------------------------------------------------------
    async def orders(self) -> Snapshot:
        """Return what is open, no older than `timeouts.stale`. Raises TerminalUnavailableError."""
        age, (mark, found) = await asyncio.to_thread(
            lambda: (self._pulse.age(), read_if_changed(self._orders, self.platform.snapshot))
        )
        if age > self.timeouts.stale:
            return (await self.orders_after(mark))[1]
        return found or await self.latest()

    async def latest(self) -> Snapshot:
        """Return what was open at the last write, of any age. Raises TerminalUnavailableError."""
        return await read_whole(self._orders, self.platform.snapshot, self.timeouts.stale)

    async def orders_after(self, before: Any, seconds: float | None = None) -> tuple[Any, Snapshot]:
        """Return `orders_with_mark` of a file written since it had this signature.

        Raises TerminalUnavailableError after the time-out."""
        timeout, began = seconds or self.timeouts.stale, time.monotonic()
        while True:
            mark, found = await asyncio.to_thread(
                read_if_changed, self._orders, self.platform.snapshot, before
            )
            if mark not in (before, None):
                return mark, found or await self.latest()
            if time.monotonic() > began + timeout:
                detail = f"The expert advisor has written nothing for {timeout:.1f} seconds."
                raise TerminalUnavailableError(Code.NOT_CONNECTED, detail)
            await wait_for_next_poll(began)

    async def orders_with_mark(self) -> tuple[Any, Snapshot]:
        """The orders file's signature, and `latest` after it. Raises TerminalUnavailableError."""
        mark, found = await asyncio.to_thread(read_if_changed, self._orders, self.platform.snapshot)
        return mark, found or await self.latest()

    async def mark(self) -> Any:
        """The orders file's signature now, for `orders_after`."""
        return await asyncio.to_thread(signature, self._orders)

    async def market_age(self) -> float:
        """Seconds since a price last changed: while they move, the terminal has its broker."""
        return await asyncio.to_thread(self._market.age)

    async def news(self, sent: SentMark, seconds: float = 0.0) -> list[Message]:
        """Return the messages since a command left, oldest first. None is a normal case.

        seconds: how long to wait for the rest of a file that is half-written."""
        try:
            found = await read_whole(self._messages, parse.messages, seconds)
        except TerminalUnavailableError as error:
            self.unreadable = error.raw or self.unreadable
            return []
        self.unreadable = b""
        return [one for one in found if (one.key, one.text) not in sent.before]

    # ---- turns ----------------------------------------------------------------------------
    @asynccontextmanager
    async def turn(self, send_by: float | None = None) -> AsyncIterator[None]:
        """Hold the terminal for one command and its outcome, in order of arrival.

        send_by: in machine time; past it a command would not leave any more, so it does not wait.
        Raises TerminalUnavailableError: another process has the folder, or the terminal is down or
        does not come to an end of the command before. Raises NotSent SEND_DEADLINE."""
        session = self._session
        await self._wait_for_turn(send_by)
        try:
            if self._held is None or session != self._session:
                await asyncio.to_thread(self._claim, session)
            if not (self._settled and self._is_known):
                await self._settle()
            yield
        finally:
            self._turn_changed = time.monotonic()
            self._busy.release()

    async def _wait_for_turn(self, send_by: float | None) -> None:
        """Wait while the queue moves; `send_by` or the caller's time-out ends a long wait. What is
        given up on is a turn that lasts longer than its command may."""
        began, ticket = time.monotonic(), object()
        self._queue.append(ticket)
        try:
            while self._queue[0] is not ticket or not self._busy.acquire(blocking=False):
                if send_by and machine_time() > send_by:
                    raise NotSent(Code.SEND_DEADLINE, "Others waited at the terminal before it.")
                waited = time.monotonic() - max(began, self._turn_changed)
                if waited > self.timeouts.answer + self.timeouts.take:
                    detail = f"The terminal has been busy with one command for {waited:.1f} s."
                    raise TerminalUnavailableError(Code.NOT_CONNECTED, detail)
                await wait_for_next_poll(began)
        finally:
            self._queue.remove(ticket)
        self._turn_changed = time.monotonic()

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
                raise TerminalUnavailableError(
                    Code.NOT_CONNECTED, "The session was ended meanwhile."
                )
            if self._held is not None:
                return
            try:
                held = file_io.locked_file(file_io.own_folder(self.folder) / "owner.lock")
                if held is None:
                    detail = "Another process of Fillcast has this terminal's folder."
                    raise FolderInUseError(Code.NOT_CONNECTED, detail)
                with ExitStack() as on_failure:  # a failed start must not keep the folder locked
                    on_failure.callback(os.close, held)
                    self._numbers.begin()
                    on_failure.pop_all()
                self._held = held
            except OSError as error:
                raise TerminalUnavailableError(
                    Code.NOT_CONNECTED, f"The folder fails: {error}"
                ) from error

    async def _settle(self) -> None:
        """Wait until all earlier commands, also of an earlier process, have ended."""
        if not await wait_until_gone(self._slot, self.timeouts.take):
            await asyncio.to_thread(file_io.move_away, self._slot, self._withdrawn)
        await self.orders_after(await self.mark())
        if not self._is_known:
            await self.history(DAYS)  # refuses the other MetaTrader before anything is traded
            if self.platform.by_deals and not await read_whole(self._history, parse.load, 0):
                detail = "The history is empty, without even a deposit: the platform is unknown."
                raise TerminalUnavailableError(Code.NOT_CONNECTED, detail)
        self._settled = self._is_known = True

    # ---- commands -------------------------------------------------------------------------
    def next_number(self) -> int:
        """A command's number: one of the last thousand that comes again is ignored."""
        return self._numbers.next()

    async def send(
        self,
        number: int,
        command_name: str,
        content: str,
        leave: Callable[[], None],
        command: SentCommand | None = None,
    ) -> SentMark:
        """Put a command into slot 0. In a turn only. leave: the last look; raises NotSent.
        Raises NotSent or OutcomeUnknown."""
        # A file of its own: the thread of a call that was given up may still be writing another's.
        ready = self.folder / "fillcast" / f"next-{number}.txt"
        text = f"<:{number}|{command_name}|{content}:>"
        try:
            before = await asyncio.to_thread(self._prepare, ready, text, command)
        except OSError as error:
            raise NotSent(Code.NOT_CONNECTED, f"The folder fails: {error}") from error
        try:
            leave()
            os.replace(ready, self._slot)  # the write: the file is there whole or not at all
        except (NotSent, OSError) as error:
            if isinstance(error, OSError) and not await asyncio.to_thread(ready.exists):
                self._settled = False  # a network disk may fail after it has done it
                raise OutcomeUnknown(Code.REPLY_LOST, f"The folder fails: {error}") from error
            if command:
                await self.ended(number, UNSENT)
            await asyncio.to_thread(ready.unlink, missing_ok=True)
            if isinstance(error, NotSent):
                raise
            raise NotSent(Code.NOT_CONNECTED, f"The folder fails: {error}") from error
        self._settled, self.unreadable = False, b""
        return SentMark(number, before)

    async def taken(self, sent: SentMark) -> bool:
        """Wait until a command has been taken. False: it was withdrawn and provably never read.

        Raises TerminalUnavailableError where neither is known.
        """
        if await wait_until_gone(self._slot, self.timeouts.take):
            return True
        try:
            if not await asyncio.to_thread(file_io.move_away, self._slot, self._withdrawn):
                return True
            # It may have been read before we moved it: the file is deleted after the reading.
            # So the expert advisor must get through its round, and then not know the number yet.
            await self.orders_after(await self.mark())
            return await self._knows(sent.number)
        except (TerminalUnavailableError, OSError) as error:
            detail = f"Withdrawn, but it may have been read: {error}"
            raw = error.raw if isinstance(error, TerminalUnavailableError) else b""
            raise TerminalUnavailableError(Code.REPLY_LOST, detail, raw) from error

    async def ended(self, number: int, outcome: str) -> None:
        """Note how a command certainly ended."""
        try:
            await asyncio.to_thread(self.journal.end, number, outcome)
        except OSError:
            pass  # it then counts as one that may have had: looked up, and never sent blindly

    async def store_deals(self, commands: Sequence[SentCommand]) -> None:
        """Note which deals are reported as those of commands: their `deals`."""
        try:
            await asyncio.to_thread(self.journal.store_deals, commands)
        except OSError:
            pass  # it is decided again, by the same rules

    async def store_tickets(self, commands: Sequence[SentCommand]) -> None:
        """Note the first tickets of entries: their `ticket`. Only the folder's owner does."""
        if self._held is None:
            return
        try:
            await asyncio.to_thread(self.journal.store_tickets, commands)
        except OSError:
            pass  # it is noted at the next read

    async def history(self, days: int, within: float | None = None) -> tuple[Any, ...]:
        """Return the closed trades of those opened in so many days. In a turn.

        within: how long to wait for them; None: as for any answer. Raises TerminalUnavailableError.
        """
        seconds = min(within or self.timeouts.answer, self.timeouts.answer)
        began = time.monotonic()
        before = await asyncio.to_thread(signature, self._history)
        sent = await self._ask(self.next_number(), "GET_HISTORIC_TRADES", str(min(days, DAYS)))
        if not sent or not await wait_until_changed(self._history, before, seconds):
            self.history_seconds = math.inf
            raise TerminalUnavailableError(
                Code.NOT_CONNECTED, "The expert advisor did not write the history."
            )
        self.history_seconds = time.monotonic() - began
        self._settled = True  # it has come to this command, so none before it is under way
        read = partial(self.platform.history, self._past)
        return await read_whole(self._history, read, self.timeouts.stale)

    async def ask(self, command_name: str, content: str) -> list[Message]:
        """Send a command that trades nothing; return the messages that follow, if any. In a turn.
        Raises TerminalUnavailableError."""
        sent = await self._ask(self.next_number(), command_name, content)
        if sent is None:
            raise TerminalUnavailableError(
                Code.NOT_CONNECTED, "The expert advisor takes no commands."
            )
        began = time.monotonic()
        while True:
            found = [one for one in await self.news(sent) if one.kind != OF_PRICES]
            self._settled = bool(found)
            if found or time.monotonic() > began + self.timeouts.stale:
                return found
            await wait_for_next_poll(began)

    async def _ask(self, number: int, command_name: str, content: str) -> SentMark | None:
        try:
            sent = await self.send(number, command_name, content, lambda: None)
        except (NotSent, OutcomeUnknown) as error:
            raise TerminalUnavailableError(error.code, error.detail) from error
        if await wait_until_gone(self._slot, self.timeouts.take):
            return sent
        await asyncio.to_thread(file_io.move_away, self._slot, self._withdrawn)
        return None

    async def _knows(self, number: int) -> bool:
        """Whether the expert advisor has read a command of this number: it ignores a second one.

        Raises TerminalUnavailableError.
        """
        before = await asyncio.to_thread(signature, self._history)
        if await self._ask(number, "GET_HISTORIC_TRADES", "1") is None:
            raise TerminalUnavailableError(
                Code.NOT_CONNECTED, "The expert advisor takes no commands."
            )
        known = not await wait_until_changed(self._history, before, self.timeouts.stale)
        self._settled = not known
        return known

    def _prepare(
        self, ready: Path, text: str, command: SentCommand | None
    ) -> frozenset[tuple[int, str]]:
        if self._slot.exists():
            raise FileExistsError("another program writes commands into this folder")
        if self._numbers.are_due:
            with self._claiming:  # a call that was given up must not rewrite a new owner's file
                if self._held is None:
                    raise OSError("the folder was released meanwhile")
                self._numbers.reserve()
        before = messages_now(self._messages)
        file_io.remove_older(ready)  # of calls that were given up
        if command is not None:
            self.journal.write(command)
        file_io.create(ready, text.encode("ascii", "replace"))
        return before
