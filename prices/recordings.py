"""Recorded quotes: strict parsing, and playing them by a market clock, in order."""

import csv
import gzip
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

from brokers.types import Quote
from common.errors import FillcastError, MisconfiguredError
from common.money import read_decimal

DATA = Path(__file__).parent / "data"
DEFAULT_FILE = "quotes-2014-05-02-nonfarm-2h.csv.gz"
COLUMNS = ["time_ms", "symbol", "bid", "ask"]
_PAIR = re.compile(r"[A-Z0-9]{2,12}/[A-Z0-9]{2,12}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_quotes(path: Path) -> Iterator[Quote]:
    """Yield a recording's quotes in order. `.csv` or `.csv.gz`, columns time_ms,symbol,bid,ask.

    time_ms: UTC, epoch milliseconds. Raises MisconfiguredError with file and line if the recording
    is invalid.
    """
    try:
        with _open(path) as lines:
            yield from _quotes(path, csv.reader(lines))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise MisconfiguredError(f"{path}: cannot be read ({error}).") from error


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _quotes(path: Path, rows: Iterator[list[str]]) -> Iterator[Quote]:
    header = next(rows, None)
    if header != COLUMNS:
        raise MisconfiguredError(f"{path}, line 1: expected {','.join(COLUMNS)}, found {header}.")
    before = None
    for number, row in enumerate(rows, start=2):
        try:
            quote = _quote(row)
        except (ValueError, OverflowError, FillcastError) as error:
            raise MisconfiguredError(f"{path}, line {number}: {error}") from error
        if before is not None and quote.time < before:
            raise MisconfiguredError(f"{path}, line {number}: earlier than the line before it.")
        before = quote.time
        yield quote


def _quote(row: list[str]) -> Quote:
    if len(row) != len(COLUMNS):
        raise ValueError(f"expected {len(COLUMNS)} fields, found {len(row)}.")
    time_ms, symbol, bid_text, ask_text = row
    if not re.fullmatch(r"[0-9]{1,15}", time_ms, re.ASCII):
        raise ValueError(f"time_ms is {time_ms!r}, not epoch milliseconds.")
    if not _PAIR.fullmatch(symbol):
        raise ValueError(f"symbol is {symbol!r}, not BASE/QUOTE.")
    bid = read_decimal(bid_text, field="bid", positive=True)
    ask = read_decimal(ask_text, field="ask", positive=True)
    if ask < bid:
        raise ValueError(f"ask {ask} is below bid {bid}.")
    return Quote(symbol, bid, ask, _EPOCH + timedelta(milliseconds=int(time_ms)))


class Tape:
    """A recording with a position: returns the quotes that the market clock has passed."""

    def __init__(self, quotes: Iterator[Quote]) -> None:
        self._quotes = quotes
        self._next = next(quotes, None)

    @property
    def is_over(self) -> bool:
        """Whether every quote has been returned."""
        return self._next is None

    def until(self, now: datetime) -> list[Quote]:
        """Return every quote up to and including `now`, and move past them."""
        due = []
        while self._next is not None and self._next.time <= now:
            due.append(self._next)
            self._next = next(self._quotes, None)
        return due

    def skip_to(self, now: datetime) -> list[Quote]:
        """Move to `now`; return each symbol's last quote before it, with the time `now`.

        A price is valid until the next one.
        """
        last = {quote.symbol: quote for quote in self.until(now)}
        return [replace(quote, time=now) for quote in last.values()]


def find_recording(name: str, *, trusted: bool) -> Path:
    """Return the path of a named recording: one of ours, or any absolute path if trusted.

    trusted: the owner is an operator. Raises MisconfiguredError, which lists our recordings.
    """
    if trusted and Path(name).is_absolute():
        return Path(name)
    known = sorted(path.name for path in DATA.glob("*.csv.gz"))
    if name not in known:
        raise MisconfiguredError(
            f"There is no recording {name!r}; available are: {', '.join(known)}."
        )
    return DATA / name
