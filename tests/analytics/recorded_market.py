"""The recorded market as tests read it: the file's lines, in exact fractions. Nothing is shared."""

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import pairwise

from prices.recordings import DATA, DEFAULT_FILE
from tests.analytics.record_oracle import RawBar

NOON = datetime(2014, 5, 2, 12, tzinfo=UTC)
END = NOON + timedelta(hours=2)
PAIRS = ("EUR/USD", "NZD/USD", "XAU/USD")


@dataclass(frozen=True)
class Line:
    at: datetime
    pair: str
    bid: Decimal
    ask: Decimal


@cache
def lines() -> tuple[Line, ...]:
    with gzip.open(DATA / DEFAULT_FILE, "rt") as file:
        return tuple(
            Line(
                datetime.fromtimestamp(int(row["time_ms"]) / 1000, UTC), row["symbol"],
                Decimal(row["bid"]), Decimal(row["ask"]),
            )
            for row in csv.DictReader(file)
        )  # fmt: skip


def market(pair: str, at: datetime) -> Line:
    """Return the newest line of a pair at a time."""
    return max((line for line in lines() if line.pair == pair and line.at <= at), key=_time)


def _time(line: Line) -> datetime:
    return line.at


@cache
def minute_bars(pair: str) -> dict[datetime, RawBar]:
    """Return the first, highest, lowest and last bid and ask of each minute."""
    minutes: dict[datetime, list[Line]] = {}
    for line in lines():
        if line.pair == pair:
            minutes.setdefault(line.at.replace(second=0, microsecond=0), []).append(line)
    return {minute: dict(_bar(several)) for minute, several in minutes.items()}


def _bar(several: list[Line]) -> Iterator[tuple[str, Fraction]]:
    for side, prices in (
        ("b", [Fraction(line.bid) for line in several]),
        ("a", [Fraction(line.ask) for line in several]),
    ):
        values = (prices[0], max(prices), min(prices), prices[-1])
        yield from zip((side + name for name in "ohlc"), values, strict=True)


def minute_returns(pair: str) -> list[Decimal]:
    """Return how the mid price changed from each minute's end to the next, to ten places."""
    bars = minute_bars(pair)
    mids = [(bars[minute]["bc"] + bars[minute]["ac"]) / 2 for minute in sorted(bars)]
    return [Decimal(f"{float(after / before - 1):.10f}") for before, after in pairwise(mids)]
