"""Ask a second source about suspect quotes: the fallbacks that their source's owner chose.

Two sources never quote the same price, so what the second one says is its own move: its price is
shifted by what both usually quote apart (`usual_offsets.py`). Where that is not known, it has no
opinion. It denies only by a price of now: one that has fallen silent says nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol, runtime_checkable

from brokers.types import Quote
from common.clocks import machine_time, market_now
from common.db.sql import database_now
from prices.distances import Offsets
from prices.held_back import Suspects
from prices.selectors import own_quotes
from prices.tick_judge import second_opinion
from prices.usual_offsets import usual_offsets

ASK_EVERY = 0.2  # seconds
RECENT = timedelta(seconds=2)  # an older price denies nothing


@runtime_checkable
class Judged(Protocol):
    """A stream that holds suspect quotes back."""

    def suspects(self) -> Suspects:
        """Return the quotes that are held back, by pair."""
        ...

    def decide(self, opinions: Mapping[str, bool | None], suspects: Mapping[str, Quote]) -> None:
        """Apply what a second source says; `due` returns what counts."""
        ...


class SecondSource:
    """The second sources of a source, the first choice first. For one thread."""

    def __init__(self, of: int, source_ids: Sequence[int] = ()) -> None:
        """of: the source whose quotes they judge."""
        self.source_ids = tuple(source_ids)
        self._of, self._asked_at = of, float("-inf")
        # By pair: of the suspect quote that came then.
        self._offsets: dict[str, tuple[float, dict[int, Offsets]]] = {}

    def consult(self, stream: object) -> None:
        """Ask about the suspect quotes of a stream; an opinion holds for a while."""
        if not self.source_ids or not isinstance(stream, Judged):
            return
        now = machine_time()
        if now - self._asked_at < ASK_EVERY or not (suspects := stream.suspects()):
            return
        self._asked_at = now
        opinions = self._opinions(suspects, now)
        stream.decide(opinions, {pair: suspect for pair, (_, suspect, _) in suspects.items()})

    def _opinions(self, suspects: Suspects, now: float) -> dict[str, bool | None]:
        """Return what the second sources say, by pair; None: none has an opinion."""
        self._look_up_offsets(suspects, now)
        stored, at = own_quotes(self.source_ids, suspects), database_now()
        opinions = dict[str, bool | None]()
        for pair, (last, suspect, since) in suspects.items():
            opinions[pair], came_at = None, at - timedelta(seconds=now - since)
            for source_id, offsets in self._offsets[pair][1].items():
                quote, received_at = stored.get((source_id, pair), (None, came_at))
                if quote is None or received_at <= came_at:
                    continue
                opinion = second_opinion(last, suspect, quote, offsets)
                if opinion or (opinion is False and at - received_at <= RECENT):
                    opinions[pair] = opinion
                    break
        return opinions

    def _look_up_offsets(self, suspects: Suspects, now: float) -> None:
        """Find the distances of before each suspect quote, once, in the order of the sources."""
        known = {
            pair: found
            for pair, found in self._offsets.items()
            if pair in suspects and found[0] == suspects[pair][2]
        }
        if new := suspects.keys() - known.keys():
            since = min(suspects[pair][2] for pair in new)
            came_at = market_now() - timedelta(seconds=now - since)
            usual = usual_offsets(self._of, self.source_ids, new, came_at)
            for pair in new:
                offsets = {pk: usual[pk, pair] for pk in self.source_ids if (pk, pair) in usual}
                known[pair] = suspects[pair][2], offsets
        self._offsets = known
