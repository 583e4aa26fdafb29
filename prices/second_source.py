"""Ask a second source about suspect quotes: the fallbacks that their source's owner chose."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from brokers.types import Quote
from common.clocks import machine_time
from common.sql import database_now
from prices.held_back import Suspects
from prices.selectors import own_quotes
from prices.tick_judge import second_opinion

ASK_EVERY = 0.2  # seconds


@runtime_checkable
class Judged(Protocol):
    """A stream that holds suspect quotes back."""

    def suspects(self) -> Suspects:
        """Return the quotes that are held back, by pair."""
        ...

    def decide(
        self, opinions: Mapping[str, bool], suspects: Mapping[str, Quote]
    ) -> list[Quote] | None:
        """Apply what a second source says; return what counts now, unless `due` returns it."""
        ...


class SecondSource:
    """The second sources of a source, the first choice first. For one thread."""

    def __init__(self, source_ids: Sequence[int] = ()) -> None:
        self.source_ids = tuple(source_ids)
        self._asked_at = float("-inf")

    def consult(self, stream: object) -> list[Quote]:
        """Ask about the suspect quotes of a stream; return those that count now."""
        if not self.source_ids or not isinstance(stream, Judged):
            return []
        now = machine_time()
        if now - self._asked_at < ASK_EVERY or not (suspects := stream.suspects()):
            return []
        self._asked_at = now
        opinions = self._opinions(suspects, database_now(), now)
        return stream.decide(opinions, {pair: suspects[pair][1] for pair in opinions}) or []

    def _opinions(self, suspects: Suspects, at: datetime, now: float) -> dict[str, bool]:
        """Return what the second sources say, by pair: only what came after the suspect quote."""
        found: dict[str, bool] = {}
        stored = own_quotes(self.source_ids, suspects)
        for pair, (last, suspect, since) in suspects.items():
            came_at = at - timedelta(seconds=now - since)
            for source_id in self.source_ids:
                second, received_at = stored.get((source_id, pair), (None, came_at))
                if second is None or received_at <= came_at:
                    continue
                if (is_right := second_opinion(last, suspect, second)) is not None:
                    found[pair] = is_right
                    break
        return found
