"""The journal of commands to a terminal: a file beside the terminal's, written before each command.

MT4 stores no id of a close: only this file links our exits to the tickets that they closed. A
command that is not in it was never sent. Lines of JSON; an incomplete last line does not count.

The file is the truth; memory has a copy, as far as the record cache allows
(brokers/record_cache.py). Commands about nothing that is open are evicted first: those without an
effect, and those of closed positions. `about` returns the commands of given tickets; it reads the
file again if some of them may have been evicted. `commands` returns all commands and reads the file
again after any eviction; that costs about as much as the history that is read with it. So no
conclusion depends on what is in memory.
"""

import json
import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from brokers.dwx import file_io
from brokers.dwx.sent_commands import (
    CommandFilter,
    OpenSnapshot,
    OpenSnapshots,
    SentCommand,
    is_over,
    without_ended,
)
from brokers.record_cache import MAX_RECORDS, RECORD_CACHE, RecordCache

KEEP_SECONDS = 400 * 86_400
REWRITE_ABOVE = 4_000_000  # bytes
COUNT_ABOVE = 1_000_000  # bytes: in less there are not too many to hold
MAX_COMMANDS = MAX_RECORDS - 1000  # of one terminal: 1000 more may come before it is compacted
OVERLAP = 200  # bytes that are read again
DEALS, TICKET = "deals", "ticket"
LATER_FIELDS = "after", DEALS  # than the first ones
RESERVED = "reserved"  # not an outcome: numbers up to this one may have been used
FILE_KEYS = {"action": "what", "outcome": "end"}  # the file has other names for these fields
FIELD_NAMES = {key: name for name, key in FILE_KEYS.items()}


class CommandJournal:
    """The commands of one folder. Only the process that has locked the folder writes the file.

    Calls access the disk and may raise OSError. Any thread may read, one at a time."""

    def __init__(self, path: Path, record_cache: RecordCache = RECORD_CACHE) -> None:
        self._path, self._reading = path, threading.Lock()
        self._writing = threading.Lock()  # a write during compaction must not be lost
        self._partition = record_cache.partition(self)
        self._snapshots = OpenSnapshots()  # what was open at each `about`
        self._forget()

    def write(self, command: SentCommand) -> None:
        """Store a command before it is sent."""
        with self._writing:
            file_io.append(self._path, _lines_of(command))

    def end(self, number: int, outcome: str) -> None:
        """Note how a command certainly ended."""
        self._append({"number": number, "end": outcome})

    def store_deals(self, commands: Sequence[SentCommand]) -> None:
        """Note which deals are reported as those of commands: their `deals`."""
        lines = [
            _line({"number": one.number, DEALS: one.deals, "end": one.outcome}) for one in commands
        ]
        with self._writing:
            file_io.append(self._path, b"".join(lines))

    def store_tickets(self, commands: Sequence[SentCommand]) -> None:
        """Note the first tickets of entries: their `ticket`."""
        lines = [
            _line({"number": one.number, TICKET: one.ticket, "end": one.outcome})
            for one in commands
        ]
        with self._writing:
            file_io.append(self._path, b"".join(lines))

    def commands(self) -> list[SentCommand]:
        """Return all commands, oldest first; read only what is new. Raises OSError for lines that
        we have not written."""
        with self._reading:
            if self._left is not None:
                self._forget()
            found = self._read()
        self._partition.ensure_capacity()
        return found

    def about(self, open_now: CommandFilter, account: str = "") -> list[SentCommand]:
        """Return the commands about what is open at an account, oldest first. Raises OSError as
        `commands`."""
        with self._reading:
            found = self._read()
            if self._left is not None and not self._left.covers(open_now):
                self._forget()
                found = self._read()
            self._snapshots.record_open(OpenSnapshot(time.time(), open_now, account))
            self._may_shed = True
        self._partition.ensure_capacity()
        return [command for command in found if open_now.selects(command)]

    # ---- the copy in memory -----------------------------------------------------------------
    @property
    def loop(self) -> None:
        """None: records may be dropped on any thread."""

    def drop(self, *, ended: bool) -> bool:
        """Drop the commands about nothing that is open, or (not `ended`) all, from memory.

        Return False if there are none, or during a read."""
        if not (self._known and (self._may_shed or not ended)):
            return False
        if not self._reading.acquire(blocking=False):
            return False
        try:
            before = len(self._known)
            if ended:
                self._shed()
            else:
                self._forget()
            self._partition.update_size(len(self._known))
            return len(self._known) < before
        finally:
            self._reading.release()

    def _forget(self) -> None:
        self._known: dict[int, SentCommand] = {}
        self._left: CommandFilter | None = None  # what memory has completely; None: everything
        self._may_shed = False
        self._before = b""  # the last bytes that were read, to recognise the file again
        self._offset = 0

    def _shed(self) -> None:
        snapshot = self._snapshots.last or OpenSnapshot(0.0, CommandFilter())
        known = self._known.values()
        stays = {one.magic for one in known if not is_over(one, snapshot)}
        kept = {number: one for number, one in self._known.items() if one.magic in stays}
        if len(kept) < len(self._known):
            whole = CommandFilter(snapshot.open.magics | stays, snapshot.open.tickets)
            self._left = whole if self._left is None else whole & self._left
            self._known = kept
        self._may_shed = False

    def _read(self) -> list[SentCommand]:
        size = len(self._known)
        try:
            with ExitStack() as on_failure:
                on_failure.callback(self._forget)  # a partial read must not stay in memory
                found = self._read_on()
                on_failure.pop_all()
                return found
        finally:
            self._may_shed |= len(self._known) > size
            self._partition.update_size(len(self._known))

    def _read_on(self) -> list[SentCommand]:
        raw = self._tail()
        if not raw.startswith(self._before):  # it was compacted, or restored from a backup
            self._forget()
            raw = self._tail()
        whole = max(raw.rfind(b"\n"), len(self._before))  # the last line may be incomplete
        _fold(self._known, raw[len(self._before) : whole])
        self._offset += whole - len(self._before)
        found = dict(self._known)
        _fold(found, raw[whole:])
        self._before = raw[:whole][-OVERLAP:]
        return list(found.values())

    def _tail(self) -> bytes:
        if not self._path.exists():
            return b""
        return file_io.read(self._path, self._offset - len(self._before))

    def reserve(self, number: int) -> None:
        """Note that commands up to this number may be sent."""
        self._append(_reserved(number))

    def last_number(self) -> int:
        """Return the last number that may have been used; a random one without a journal, since
        the expert advisor ignores a number that was among its last thousand."""
        anything = secrets.randbelow(1_000_000_000)
        return max([record["number"] for record in self._lines()], default=anything)

    def tidy(self) -> bool:
        """Remove ended commands from the file if it is large or has too many.

        It removes commands beyond KEEP_SECONDS and beyond MAX_COMMANDS, never one that is or may be
        open. Return False if it must wait until what is open was read for long enough."""
        size = self._path.stat().st_size if self._path.exists() else 0
        if size < COUNT_ABOVE:
            return True
        with self._writing:
            return self._tidy(size)

    @property
    def knows_what_is_open(self) -> bool:
        """Whether what is open is known for long enough to remove ended commands."""
        return self._snapshots.recent is not None

    def _tidy(self, size: int) -> bool:
        found, snapshot = self.commands(), self._snapshots.recent
        if size < REWRITE_ABOVE and len(found) <= MAX_COMMANDS:
            return True
        if snapshot is None:
            return False
        stays = self._stays(found, snapshot.account)
        if size < REWRITE_ABOVE and len(stays) == len(found):
            return True
        fresh = self._path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        lines, last = [_lines_of(one) for one in stays], self.last_number()
        file_io.append(fresh, b"".join([*lines, _line(_reserved(last))]))
        os.replace(fresh, self._path)
        return True

    def _stays(self, found: list[SentCommand], now: str) -> list[SentCommand]:
        """Return the commands to keep: all of an account whose open orders this process has not
        read for long enough. now: the account that the terminal is logged in to."""
        of: dict[str, list[SentCommand]] = {}
        for one in found:
            of.setdefault(one.account or now, []).append(one)
        stays, oldest = set[int](), time.time() - KEEP_SECONDS
        for account, mine in of.items():
            snapshot = self._snapshots.recent_of(account)
            left = mine if snapshot is None else without_ended(mine, snapshot, oldest, MAX_COMMANDS)
            stays |= {one.number for one in left}
        return [one for one in found if one.number in stays]

    def _append(self, record: dict[str, Any]) -> None:
        with self._writing:
            file_io.append(self._path, _line(record))

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self._path.exists():
            return
        yield from _records(file_io.read(self._path))


def _line(record: dict[str, Any]) -> bytes:
    # It begins with a line break, so that an incomplete line before it stays separate.
    return b"\n" + json.dumps(record).encode()


def _as_json(command: SentCommand) -> dict[str, Any]:
    values = {**asdict(command), "lots": str(command.lots)}
    return {FILE_KEYS.get(name, name): values[name] for name in values if name not in LATER_FIELDS}


def _lines_of(command: SentCommand) -> bytes:
    """Return all that is stored of a command. An older version refuses a command with a field that
    it does not know, so the later ones have a line of their own, with the outcome: the older one
    reads it from the last line."""
    first = _line(_as_json(command))
    if command.after < 0 and not command.deals:
        return first
    later = {"after": command.after, DEALS: command.deals, "end": command.outcome}
    return first + _line({"number": command.number, **later})


def _reserved(number: int) -> dict[str, Any]:
    return {"number": number, "end": RESERVED}


def _records(raw: bytes) -> Iterator[dict[str, Any]]:
    for line in raw.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and type(record.get("number")) is int:
            yield record


def _fold(found: dict[int, SentCommand], raw: bytes) -> None:
    for record in _records(raw):
        number = record["number"]
        if "what" in record:
            found[number] = _read_command(record)
        elif number in found and DEALS in record:
            after = record.get("after", found[number].after)
            found[number] = replace(found[number], after=after, deals=tuple(record[DEALS]))
        elif number in found and TICKET in record:
            found[number] = replace(found[number], ticket=int(record[TICKET]))
        elif number in found and record.get("end") != RESERVED:
            found[number] = replace(found[number], outcome=str(record.get("end", "")))


def _read_command(record: dict[str, Any]) -> SentCommand:
    values = {FIELD_NAMES.get(key, key): value for key, value in record.items()}
    try:
        return SentCommand(**{**values, "lots": Decimal(record["lots"])})
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise OSError(f"ledger.jsonl has a line that we did not write: {error}") from error
