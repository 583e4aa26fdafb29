"""Executions of a list that may take longer to read than one read has time for (Kraken's: fifty of
a page, and at its rate a page each six seconds). Without ccxt.

What was read is kept, and the next read goes on where the last one stopped: so it ends, however
much there is. The list is newest first. Its next page is asked for by the time of the oldest
execution so far, so what is executed meanwhile moves nothing.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from brokers.crypto.paging import Entry, identity_of

MARGIN = timedelta(seconds=60)  # read again before and after: what is listed late, clocks
ReadPage = Callable[[datetime, Mapping[str, Any]], Awaitable[Sequence[Entry]]]
"""Reads a page of what was executed after a time, with further parameters of the request."""


@dataclass(slots=True)
class Gap:
    """A time that is not read yet. asked: the parameters of its next page."""

    start: datetime
    asked: Mapping[str, Any] = field(default_factory=dict)
    found: dict[tuple[str, ...], Entry] = field(default_factory=dict)
    last_page: frozenset[tuple[str, ...]] = frozenset()


@dataclass(slots=True)
class UnreadTrades:
    """A read that goes on. since, until: the time of which all but the gaps is read."""

    since: datetime
    until: datetime
    gaps: list[Gap]
    found: dict[tuple[str, ...], Entry] = field(default_factory=dict)

    async def read(self, read_page: ReadPage, size: int) -> list[Entry]:
        """Read what is missing and return all. size: of a full page. Raises what `read_page`
        raises, or ValueError; what was read until then is kept."""
        while self.gaps:
            gap = self.gaps[-1]
            page = {identity_of(one): one for one in await read_page(gap.start, gap.asked)}
            gap.found |= page
            if len(page) < size:
                self.found |= self.gaps.pop().found
            elif gap.last_page == (ids := frozenset(page)):
                raise ValueError(f"the same {len(page)} executions again")
            else:
                gap.last_page, gap.asked = ids, _next_page(gap.found.values())
        return list(self.found.values())


def _next_page(found: Collection[Entry]) -> Mapping[str, Any]:
    """Return the parameters of the page after all of these, in whole seconds."""
    times = [float(one["info"]["time"]) for one in found]
    end = int(min(times)) + 1
    return {"end": end, "ofs": sum(time <= end for time in times)}


def going_on(kept: UnreadTrades | None, since: datetime, now: datetime) -> UnreadTrades:
    """Return the read of all executions since a time. kept: an earlier one; it goes on if it is of
    this time."""
    start = since - MARGIN
    if kept is None or not kept.since <= since <= kept.until:
        return UnreadTrades(start, now, [Gap(start)])
    if not kept.gaps or kept.gaps[-1].asked:  # one that has not begun has no end yet
        kept.gaps.append(Gap(kept.until - MARGIN))
    kept.until = now
    return kept
