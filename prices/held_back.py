"""Hold back a quote that is far from the one before, until another quote or a second confirms it.

One bad tick must fire nothing: no stop, target, trigger or trailing stop, no condition, no paper
order. So what is taken from a source passes here first (`tick_judge.py` has the rules):
- A far quote is suspect: it is held back, and so is the first quote of a pair of which nothing is
  known.
- The next quote of the pair decides, if it is a statement of its own on each side that is far. If
  near the last price, it drops the held one. If it is far on the same side, the price that both
  have reached counts. On the other side it is held back, too: a third one decides which of them
  was right. A quote that is sent again neither confirms nor denies.
- A held quote that nothing contradicts for HOLD_SECONDS counts, as a price of that moment; sooner
  if a second source confirms it. While a second source denies it, silence does not confirm it, but
  REPEATS later repetitions do. One that was denied and is not stated again is dropped in the end.
So a move acts with its second quote or after a second of silence. If this process stood still, the
second begins again, as quotes that contradict may wait to be read; once only, as a slow process
must not hide a move. Not for several threads.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from brokers.types import Quote
from common.clocks import machine_time
from prices.judged_pair import JudgedPair, Suspect, new_pair
from prices.tick_judge import Sent, Verdict, judge_next

HOLD_SECONDS = 1.0
DENIAL_SECONDS = 2.0  # so long what a second source says holds
DROPPED_AFTER = 45.0  # seconds: a quote that was denied, and stated so long ago, is no price of now
STALLED_SECONDS = 3.0  # longer than any pause of the thread that looks

Suspects = dict[str, tuple[Quote, Quote, float]]
"""By pair: its last quote, the newest suspect one, and when that came (machine time)."""


@dataclass(frozen=True, slots=True)
class Held:
    """How many quotes were held back, and the last of them as a text; empty: none yet."""

    count: int = 0
    last: str = ""


class HeldQuotes:
    """The quotes of a source that are held back, at most two of each pair."""

    def __init__(self) -> None:
        self._pairs: dict[str, JudgedPair] = {}
        self._taken = Held()
        self._looked_at = float("-inf")

    def copy(self) -> "HeldQuotes":
        """Return one that goes on from here, for the same source when it is opened again."""
        made = HeldQuotes()
        made._pairs = {symbol: pair.copy() for symbol, pair in self._pairs.items()}
        made._looked_at = self._looked_at
        return made

    def expect(self, quotes: Iterable[Quote], ranges: Mapping[str, Decimal] | None = None) -> None:
        """Compare the first quotes with these, of before the source was opened.

        ranges: how far the middle of each pair's prices lay apart recently.
        """
        for quote in quotes:
            if quote.symbol not in self._pairs:
                pair = self._pairs[quote.symbol] = JudgedPair(Sent(quote, quote.time))
                pair.passed(pair.last)
                pair.known_range = (ranges or {}).get(quote.symbol)

    def passed(
        self, quote: Quote, now: float, sent_at: datetime | None = None, row: int | None = None
    ) -> list[Quote]:
        """Return the quotes that count from now on, in order.

        now: machine time. sent_at: the time that its source gave it; None: `quote.time`. row: that
        it was read from.
        """
        sent = Sent(quote, sent_at or quote.time, row)
        if (pair := self._pairs.get(quote.symbol)) is None:
            self._pairs[quote.symbol] = new_pair(sent, now)
            return []
        if not pair.is_known:
            if (found := pair.second_of_all(sent, now)) is None:
                self._pairs[quote.symbol] = new_pair(sent, now)
            return found or []
        suspect, newest = pair.held_beside(sent), pair.newest_held
        verdict = judge_next(
            sent, pair.last, suspect.first if suspect else None, pair.usual_beside(sent),
            newest=newest.sent if newest else None,
        )  # fmt: skip
        if verdict is Verdict.OK:
            return pair.passed(sent)
        return [] if verdict is Verdict.REPEATED else self._far(pair, suspect, sent, verdict, now)

    def _far(
        self, pair: JudgedPair, suspect: Suspect | None, sent: Sent, verdict: Verdict, now: float
    ) -> list[Quote]:
        """Hold a far quote back, unless it confirms the suspect one on the same side."""
        if suspect is None:
            return self._hold(pair, sent, now)
        if verdict is not Verdict.CONFIRMED:
            pair.hold_again(suspect, sent, now)
            return []
        found, both_count = pair.confirmed(suspect, sent)
        return found if both_count else found + self._hold(pair, sent, now)

    def released(self, now: float, at: datetime) -> list[Quote]:
        """Return the quotes that nothing has contradicted for HOLD_SECONDS, as of now.

        now: machine time; at: the same in market time.
        """
        found: list[Quote] = []
        stood_still, self._looked_at = now - self._looked_at > STALLED_SECONDS, now
        for pair in self._pairs.values():
            if (newest := pair.newest_held) is None:
                continue
            if stood_still:
                pair.begin_again(now)
            if newest.was_denied and now - newest.stated_at > DROPPED_AFTER:
                pair.held.clear()
            elif now - newest.since >= HOLD_SECONDS and not newest.is_denied(now):
                found += pair.passed(_as_of(newest.sent, at))
        return found

    def suspects(self) -> Suspects:
        """Return what is held back; pairs of which nothing else is known are left out."""
        return {
            symbol: (pair.last.quote, newest.sent.quote, newest.since)
            for symbol, pair in self._pairs.items()
            if pair.is_known and (newest := pair.newest_held) is not None
        }

    def decide(
        self,
        opinions: Mapping[str, bool | None],
        suspects: Mapping[str, Quote],
        at: datetime,
        now: float,
    ) -> list[Quote]:
        """Apply what a second source says of suspect quotes, by pair; return those that count.

        suspects: what it was asked about; one that was replaced meanwhile is not decided. at, now:
        market and machine time. A denial ends unless it is repeated.
        """
        found: list[Quote] = []
        for symbol, is_right in opinions.items():
            pair = self._pairs[symbol]
            newest = pair.newest_held
            if newest is None or newest.sent.quote != suspects[symbol]:
                continue
            newest.denied_until = now + DENIAL_SECONDS if is_right is False else float("-inf")
            newest.was_denied = newest.was_denied or is_right is False
            if is_right:
                found += pair.passed(_as_of(newest.sent, at))
        return found

    def rows(self) -> set[int]:
        """Return the rows of what is held back: another process needs them."""
        return {
            suspect.sent.row
            for pair in self._pairs.values()
            for suspect in pair.held.values()
            if suspect.sent.row is not None
        }

    def drop(self, rows: Collection[int]) -> None:
        """Forget what is held back of these rows: another process has decided about them."""
        for symbol, pair in list(self._pairs.items()):
            for up, suspect in list(pair.held.items()):
                if suspect.sent.row in rows:
                    del pair.held[up]
            if not pair.held and not pair.is_known:
                del self._pairs[symbol]

    def keep(self, pairs: Collection[str]) -> None:
        """Forget the other pairs."""
        self._pairs = {pair: known for pair, known in self._pairs.items() if pair in pairs}

    def take(self) -> Held:
        """Return how many quotes were held back since the last call, and the last of all."""
        taken, self._taken = self._taken, Held(0, self._taken.last)
        return taken

    def _hold(self, pair: JudgedPair, sent: Sent, now: float) -> list[Quote]:
        pair.hold(sent, now)
        quote, last = sent.quote, pair.last.quote
        text = (
            f"{quote.symbol} {quote.bid:f}/{quote.ask:f} after {last.bid:f}/{last.ask:f},"
            f" {quote.time:%Y-%m-%d %H:%M:%S} UTC"
        )
        self._taken = Held(self._taken.count + 1, text)
        return []


def _as_of(sent: Sent, at: datetime) -> Sent:
    return replace(sent, quote=replace(sent.quote, time=at))


def waiting(suspects: Suspects) -> list[str]:
    """Return the pairs whose suspect quote waits for longer than silence takes to confirm it."""
    now = machine_time()
    return sorted(pair for pair, (_, _, at) in suspects.items() if now - at > HOLD_SECONDS)
