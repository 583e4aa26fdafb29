"""Replay a recording by hand: `manage.py replay_market`."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from brokers.types import Quote
from common.clocks import MarketClock, market_clock
from common.errors import MisconfiguredError
from connections.models import DataConnection
from connections.selectors import LIVE_KINDS
from prices.recordings import Tape, read_quotes

_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?", re.ASCII)


class ManualReplay:
    """A stream of a recording's quotes that knows the time that it has reached.

    clock: the time in the recording. restamp: quotes get real times, in their recorded distances
    divided by the speed.
    """

    def __init__(self, tape: Tape, clock: MarketClock, *, restamp: bool) -> None:
        self._tape, self._clock, self._restamp = tape, clock, restamp
        self._started = False

    @property
    def at(self) -> datetime:
        """The time in the recording now."""
        return self._clock.now()

    @property
    def is_over(self) -> bool:
        """Whether the recording has ended."""
        return self._tape.is_over

    def due(self, now: datetime) -> list[Quote]:
        """Return the quotes that the recording's clock has passed. now: real time."""
        at = self._clock.now()
        quotes = self._tape.until(at) if self._started else self._tape.skip_to(at)
        self._started = True
        if not self._restamp:
            return quotes
        speed = self._clock.speed
        return [
            replace(quote, time=now - timedelta(seconds=(at - quote.time).total_seconds() / speed))
            for quote in quotes
        ]


def prepare(path: Path, *, start: str | None, speed: float) -> ManualReplay:
    """Open a recording for replay, by the installation's market clock or by a clock of its own.

    start, speed: only used without a market clock. Raises MisconfiguredError for an invalid
    recording or start.
    """
    quotes = read_quotes(path)
    first = next(quotes, None)
    if first is None:
        raise MisconfiguredError(f"{path}: the recording has no quotes.")
    clock = market_clock()
    if clock is None:
        begin = read_start(start, first.time) if start else first.time
        own = MarketClock(begin, datetime.now(UTC), speed)
        return ManualReplay(Tape(_with(first, quotes)), own, restamp=True)
    return ManualReplay(Tape(_with(first, quotes)), clock, restamp=False)


def _with(first: Quote, rest: Iterator[Quote]) -> Iterator[Quote]:
    yield first
    yield from rest


def read_start(text: str, first: datetime) -> datetime:
    """Parse --start: a time of the recording's first day, or a full time (UTC without a zone).

    Raises MisconfiguredError.
    """
    if match := _TIME_OF_DAY.fullmatch(text):
        hour, minute, second = (int(part or 0) for part in match.groups())
        return first.replace(hour=hour, minute=minute, second=second, microsecond=0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise MisconfiguredError(
            f"--start {text!r} is not a time such as 12:29 or 2014-05-02T12:29Z."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def get_or_create_source(name: str) -> DataConnection:
    """Return the price source of that name; create an inactive one, which only this command feeds.

    Raises MisconfiguredError if the prices process feeds it already, or several have the name.
    """
    sources = list(DataConnection.objects.filter(name=name)[:2])
    if not sources:
        return DataConnection.objects.create(
            name=name, kind=DataConnection.Kind.REPLAY, is_active=False
        )
    if len(sources) > 1:
        raise MisconfiguredError(f"Several price sources are called {name!r}; rename one.")
    if sources[0].kind in LIVE_KINDS:
        raise MisconfiguredError(
            f"The prices of {name!r} come from a broker or are pushed; name another source."
        )
    if sources[0].is_active:
        raise MisconfiguredError(
            f"Price source {name!r} is active, so the prices process feeds it; "
            "switch it off or name another with --data-connection."
        )
    return sources[0]
