"""What we have asked a terminal for, on disk beside its files, written before it is asked.

MT4 keeps no name of a close: only here stands which exit of ours closed which ticket. And what was
never written down here was never sent. Lines of JSON; a torn last line is one that never counted.
"""

import json
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from brokers.dwx import disk

KEEP_SECONDS = 400 * 86_400
REWRITE_ABOVE = 4_000_000  # bytes
MOST_RECORDS = 10_000  # of one terminal; it is read as a whole
OVERLAP = 200  # bytes that are read again
OPEN, CLOSE = "open", "close"
UNSENT, REFUSED, PLACED, GONE = "unsent", "refused", "placed", "gone"


@dataclass(frozen=True, slots=True)
class Intent:
    """One command that may place or close. at: seconds since 1970. end: how it ended for certain,
    without effect, as an order that was seen to wait (PLACED), or as one that waited and is neither
    open nor filled any more (GONE); '' while that is not known."""

    number: int
    at: float
    what: str
    client_order_id: str
    magic: int
    symbol: str
    lots: Decimal
    ticket: int = 0
    root: int = 0
    end: str = ""

    @property
    def may_live(self) -> bool:
        """Whether it may have had an effect that nobody has seen."""
        return self.end == ""


class Ledger:
    """The intents of one folder. Its file is written by the folder's owner only; calls touch the
    disk and may raise OSError."""

    def __init__(self, path: Path) -> None:
        self._path, self._reading = path, threading.Lock()
        self._forget()

    def write(self, intent: Intent) -> None:
        """Put an intent on disk before it may have its effect."""
        said = asdict(intent)
        said["lots"] = str(intent.lots)
        self._append(said)

    def end(self, number: int, how: str) -> None:
        """Note how a command certainly ended."""
        self._append({"number": number, "end": how})

    def intents(self) -> list[Intent]:
        """Return all that is kept, oldest first; only what is new is read. Raises OSError for what
        we have not written."""
        with self._reading:
            try:
                return self._read_on()
            except BaseException:
                self._forget()
                raise

    def _forget(self) -> None:
        self._known: dict[int, Intent] = {}
        self._before = b""  # the end of what is known, by which the file is known again
        self._offset = 0

    def _read_on(self) -> list[Intent]:
        raw = self._tail()
        if not raw.startswith(self._before):  # it was tidied, or a backup of it put back
            self._forget()
            raw = self._tail()
        whole = max(raw.rfind(b"\n"), len(self._before))  # the last line may still be on its way
        _fold(self._known, raw[len(self._before) : whole])
        self._offset += whole - len(self._before)
        found = dict(self._known)
        _fold(found, raw[whole:])
        self._before = raw[:whole][-OVERLAP:]
        return list(found.values())

    def _tail(self) -> bytes:
        if not self._path.exists():
            return b""
        return disk.read(self._path, self._offset - len(self._before))

    def reserve(self, number: int) -> None:
        """Note that commands up to this number may be sent: not each of them is written down."""
        self._append({"number": number, "end": "reserved"})

    def last_number(self) -> int:
        """Return the last number that may have been used; a random one where nothing is known,
        since the expert advisor ignores a number that it has seen among the last thousand."""
        anything = secrets.randbelow(1_000_000_000)
        return max([said["number"] for said in self._lines()], default=anything)

    def tidy(self) -> None:
        """Forget what is older than anybody looks back, once the file has grown large; of what is
        left too much, first what had no effect, then the oldest."""
        if not self._path.exists() or self._path.stat().st_size < REWRITE_ABOVE:
            return
        oldest = time.time() - KEEP_SECONDS
        kept, last = [one for one in self.intents() if one.at >= oldest], self.last_number()
        spare = len(kept) - MOST_RECORDS
        first = sorted(kept, key=lambda one: (one.end not in (UNSENT, REFUSED), one.at))
        gone = {one.number for one in first[: max(0, spare)]}
        kept = [one for one in kept if one.number not in gone]
        fresh = Ledger(self._path.with_suffix(".new"))
        fresh._path.unlink(missing_ok=True)
        for intent in kept:
            fresh.write(intent)
        fresh.reserve(last)
        os.replace(fresh._path, self._path)

    def _append(self, said: dict[str, Any]) -> None:
        # It begins with the line's end: a torn line before it stays alone.
        disk.append(self._path, b"\n" + json.dumps(said).encode())

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self._path.exists():
            return
        yield from _records(disk.read(self._path))


def _records(raw: bytes) -> Iterator[dict[str, Any]]:
    for line in raw.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and type(said.get("number")) is int:
            yield said


def _fold(found: dict[int, Intent], raw: bytes) -> None:
    for said in _records(raw):
        number = said["number"]
        if "what" in said:
            found[number] = _intent(said)
        elif number in found:
            found[number] = replace(found[number], end=str(said.get("end", "")))


def _intent(said: dict[str, Any]) -> Intent:
    try:
        return Intent(**{**said, "lots": Decimal(said["lots"])})
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise OSError(f"ledger.jsonl has a line that is not ours: {error}") from error


def names(intents: Iterable[Intent]) -> dict[int, str]:
    """Return the client order ids of entries by their magic numbers."""
    return {one.magic: one.client_order_id for one in intents if one.what == OPEN}


def closes(intents: Iterable[Intent]) -> dict[int, Intent]:
    """Return, by ticket, the exit that may have closed it."""
    return {one.ticket: one for one in intents if one.what == CLOSE and one.may_live}
