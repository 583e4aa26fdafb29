"""One connection's access to its terminal: account checks, and the state at one moment."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from brokers.base import Rejected
from brokers.dwx.folders import TerminalUnavailableError
from brokers.dwx.lots import Lots, LotsError, lots_of
from brokers.dwx.mt4_reports import Mt4Reports
from brokers.dwx.parse import Snapshot
from brokers.dwx.sent_commands import GONE, PLACED, CommandFilter, SentCommand
from brokers.dwx.server_time import Zone
from brokers.dwx.sync_marks import OpenTicket, WaitingClose
from brokers.dwx.terminal import Terminal
from brokers.dwx.terminal_state import HistoryNeededError
from brokers.types import ConnectionSpec, HeldLevels
from common.reason_codes import Code

log = logging.getLogger(__name__)
HISTORY_DAYS = 90
MIN_GAP_SECONDS = 0.5  # between two reads that must both miss an order
ALL_HISTORY = "In MetaTrader, Account History, right click: All History."


def _no_listener(*_: object) -> None:
    """Ignore a notification: no watcher is set."""


@dataclass(frozen=True, slots=True)
class DwxClient:
    """What a call needs. Methods raise TerminalUnavailableError if the terminal is not usable."""

    spec: ConnectionSpec
    terminal: Terminal
    zone: Zone
    report_books: Callable[["DwxClient", Mt4Reports], None] = _no_listener
    record_open: Callable[["DwxClient", Mt4Reports], None] = _no_listener
    set_levels: Callable[["DwxClient", int, HeldLevels], None] = (
        _no_listener  # by a position's first ticket
    )

    async def snapshot(self) -> Snapshot:
        """Return what is open now, of this connection's account and no other."""
        return self._of_account(await self.terminal.orders())

    async def snapshot_after(self, mark: object, seconds: float) -> Snapshot:
        """Return `snapshot` of a file written since the orders file had this signature."""
        return (await self.snapshot_with_mark_after(mark, seconds))[1]

    async def latest_snapshot(self) -> Snapshot:
        """Return a snapshot of any age: it may show an effect, but never proves its absence."""
        return (await self.snapshot_with_mark())[1]

    async def snapshot_with_mark(self) -> tuple[object, Snapshot]:
        """Return the orders file's signature, for `snapshot_after`, and its `latest_snapshot`."""
        mark, snapshot = await self.terminal.orders_with_mark()
        return mark, self._of_account(snapshot)

    async def snapshot_with_mark_after(
        self, mark: object, seconds: float
    ) -> tuple[object, Snapshot]:
        """Return `snapshot_with_mark` of a file written since this signature. seconds: time-out."""
        mark, snapshot = await self.terminal.orders_after(mark, seconds)
        return mark, self._of_account(snapshot)

    @property
    def by_deals(self) -> bool:
        """Whether only the history lists executions."""
        return self.terminal.platform.by_deals

    async def books(
        self, snapshot: Snapshot, closed: tuple[Any, ...] = (), reach: float = math.inf
    ) -> Mt4Reports:
        """Return the terminal's state from these reads and all commands sent."""
        return self._books(snapshot, await self.commands(), closed, reach)

    async def open_books(self, snapshot: Snapshot, client_order_id: str = "") -> Mt4Reports:
        """Return the state of what is open, and of an order; use `books` for everything."""
        about, account = CommandFilter.open(snapshot, client_order_id), self.spec.account
        commands = await self._read_journal(partial(self.terminal.journal.about, about, account))
        return self._books(snapshot, commands)

    def _books(
        self, snapshot: Snapshot, commands: Sequence[SentCommand], closed: tuple[Any, ...] = (),
        reach: float = math.inf,
    ) -> Mt4Reports:  # fmt: skip
        return self.terminal.platform.books(
            self.spec, self.zone, snapshot, closed, commands, dict(self.terminal.roots), reach,
            sides=dict(self.terminal.sides),
        )  # fmt: skip

    async def traced(self, snapshot: Snapshot, client_order_id: str = "") -> Mt4Reports:
        """Return `open_books`, with the history if it cannot trace a position otherwise.

        It needs a turn only if `traceable` is false."""
        books = await self.open_books(snapshot, client_order_id)
        if not traceable(books):
            books = await self.books(snapshot, await self.history())
        return await self.note_tickets(self.remember(books))

    async def note_tickets(self, books: Mt4Reports) -> Mt4Reports:
        """Store the first tickets of our positions, and return the state: the broker may number
        all tickets again, as when it moves an account to another server."""
        if unstored := books.unstored_tickets():
            await self.terminal.store_tickets(unstored)
        return books

    async def with_history(
        self, days: int = 0, awaited: str = "", within: float | None = None
    ) -> Mt4Reports:
        """Return the complete state. Call it in a turn. within: seconds for the terminal to answer.

        It reads what is open before what was closed, so that what moves between them is in both. A
        working order, and `awaited`, counts as gone only if a second read of newer files does not
        show it either: the terminal removes a filled order before it lists the execution."""
        books = await self._books_with_history(await self.snapshot(), days, within)
        if vanished := books.vanished(awaited):
            mark = await self.terminal.mark()
            await asyncio.sleep(MIN_GAP_SECONDS)
            snapshot = await self.snapshot_after(mark, self.terminal.timeouts.stale)
            books = await self._books_with_history(snapshot, days, within)
            vanished &= books.vanished(awaited)
            gone = [one for one in books.commands if one.client_order_id in vanished]
            books = await self._record_ends(books, gone, GONE)
        books = await self._record_ends(books, books.newly_working(), PLACED)
        if unstored := books.unstored_closes():  # before anything states them
            decided = [one for one in books.commands if one.number in unstored]
            await self.terminal.store_deals(
                [replace(one, deals=unstored[one.number]) for one in decided]
            )
        self.report_books(self, books)
        return books

    async def _books_with_history(
        self, snapshot: Snapshot, days: int, within: float | None
    ) -> Mt4Reports:
        days_back = self._days(days)
        reach = time.time() - (days_back - 1) * 86_400  # its days are the server's
        closed = await self.terminal.history(days_back, within)
        books = await self.books(snapshot, closed, reach)
        if self.by_deals:
            now, wait = datetime.now(UTC), timedelta(seconds=self.terminal.timeouts.reopen)
            sightings = self.terminal.first_seen.note(
                self.spec.account, closed, self.zone.utc, now, wait
            )
            books = replace(books, sightings=sightings)
        await self.note_tickets(self.remember(books))
        self._note_waiting(books.waiting_closes)
        return books

    def _note_waiting(self, waiting: Mapping[int, WaitingClose]) -> None:
        for number in waiting.keys() - self.terminal.waiting_closes.keys():
            log.info("connection %s: %s", self.spec.connection_id, _reason(waiting[number]))
        self.terminal.waiting_closes = waiting

    def require_settled(self, snapshot: Snapshot, position: str = "") -> None:
        """Raise TerminalUnavailableError REOPENING_AWAITED while the server may open again a
        position of ours that it has closed: this one, or any."""
        now = datetime.now(UTC)
        found = {one.magic for one in snapshot.tickets if one.is_position}
        for one in self.terminal.waiting_closes.values():
            is_meant = position in ("", f"m{one.magic}")
            if is_meant and one.magic not in found and one.waits(now):
                raise TerminalUnavailableError(Code.REOPENING_AWAITED, _reason(one))

    async def _record_ends(
        self, books: Mt4Reports, commands: Sequence[SentCommand], outcome: str
    ) -> Mt4Reports:
        """Store how these commands ended, and return the state with it."""
        for one in commands:
            await self.terminal.ended(one.number, outcome)
        ended = {one.number for one in commands}
        known = [
            replace(one, outcome=outcome) if one.number in ended else one for one in books.commands
        ]
        return replace(books, commands=known) if ended else books

    async def require_deals(self) -> None:
        """Read the history if this process has not yet: `last_deal` is known then. In a turn."""
        if self.by_deals and self.last_deal < 0:
            await self.with_history()

    @property
    def last_deal(self) -> int:
        """The highest number of a deal that was read; below 0: none was, as on MetaTrader 4."""
        return self.terminal.first_seen.highest(self.spec.account)

    async def history(self) -> tuple[Any, ...]:
        """Read the history, back to the opening of the oldest ticket that was ever open here."""
        return await self.terminal.history(self._days())

    def _days(self, days: int = 0) -> int:
        seconds = time.time() - self.terminal.oldest
        return max(days, self.days, math.ceil(seconds / 86_400) + 2)

    async def commands(self) -> list[SentCommand]:
        """Return the commands that were sent in this folder for this account."""
        return await self._read_journal(self.terminal.journal.commands)

    async def _read_journal(self, read: Callable[[], list[SentCommand]]) -> list[SentCommand]:
        try:
            found = await asyncio.to_thread(read)
        except OSError as error:
            raise TerminalUnavailableError(
                Code.NOT_CONNECTED, f"The folder fails: {error}"
            ) from error
        # The files show nothing of another account to which the terminal was logged in.
        return [one for one in found if one.account in ("", self.spec.account)]

    def remember(self, books: Mt4Reports) -> Mt4Reports:
        """Store the first tickets of open positions: a partial close gives them new numbers."""
        if not traceable(books):
            raise TerminalUnavailableError(
                Code.NOT_CONNECTED, f"The terminal's history is incomplete. {ALL_HISTORY}"
            )
        try:
            books.check()
        except TerminalUnavailableError as error:
            self.terminal.unsupported = error
            raise
        self.record_open(self, books)
        roots = books.roots_now
        self.terminal.roots = {one.number: roots[one.number] for one in books.snapshot.tickets}
        self.terminal.sides = {one.number: one.side for one in books.snapshot.tickets}
        for one in books.snapshot.tickets:
            opened = self.zone.utc(one.opened_at).timestamp()
            self.terminal.oldest = min(self.terminal.oldest, opened)
        return books

    def shows_all(self, before: Mapping[int, OpenTicket], now: Mapping[int, OpenTicket]) -> bool:
        """Whether the open tickets show all changes: none was closed, even in part."""
        if self.by_deals:
            return False
        return all(number in now and now[number].lots >= was.lots for number, was in before.items())

    def lots(self, symbol: str) -> Lots:
        """Return a symbol's lots. Raises Rejected if its lot size is unknown."""
        try:
            return lots_of(self.spec.settings, symbol)
        except LotsError as error:
            raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, str(error)) from error

    def in_lots(self, symbol: str, quantity: Decimal, *, is_exit: bool = False) -> Decimal:
        """Return base units as lots. Raises Rejected."""
        lots = self.lots(symbol).lots(quantity, is_exit=is_exit)
        if lots is None:
            raise Rejected(Code.VOLUME_INVALID, f"{quantity} is not a whole number of lot steps")
        return lots

    @property
    def days(self) -> int:
        """How many days the history is read back; older absences are unknown."""
        return days_of(self.spec)

    def _of_account(self, snapshot: Snapshot) -> Snapshot:
        if snapshot.account.number != self.spec.account:
            detail = f"The terminal is logged in to account {snapshot.account.number}."
            raise TerminalUnavailableError(Code.UNKNOWN_ACCOUNT, detail)
        return snapshot


def _reason(one: WaitingClose) -> str:
    return (
        f"Position m{one.magic} was closed at {one.since:%H:%M:%S} UTC, neither by us nor by hand."
        f" The server may open it again until {one.until:%H:%M:%S} UTC."
    )


def days_of(spec: ConnectionSpec) -> int:
    """Return the setting `history_days`."""
    try:
        return min(3600, max(1, int(spec.settings.get("history_days") or HISTORY_DAYS)))
    except (TypeError, ValueError):
        return HISTORY_DAYS


def traceable(books: Mt4Reports) -> bool:
    """Whether each of our positions can be traced to the ticket that it began as."""
    try:
        books.roots_now  # noqa: B018
    except HistoryNeededError:
        return False
    return True
