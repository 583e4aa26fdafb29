"""Hold back a quote that is far from the one before, until another quote or a second confirms it.

One bad tick must fire nothing: no stop, target, trigger or trailing stop, no condition, no paper
order. So what is taken from a source passes here first (`tick_judge.py` has the rules):
- A far quote is suspect: it is held back, and so is the first quote of a pair of which nothing is
  known.
- The next quote of the pair decides, if it is a statement of its own. If it is near the last price,
  the held one is dropped. If it is far on the same side, the price that both have reached counts.
  On the other side it is held back, too: a third one decides which of them was right. A quote that
  is sent again neither confirms nor denies.
- A held quote that nothing contradicts for HOLD_SECONDS counts, as a price of that moment; sooner
  if a second source confirms it. While a second source denies it, silence does not confirm it.
So a move acts with its second quote or after a second of silence. If this process stood still, the
second begins again, as quotes that contradict may wait to be read. Not for several threads.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from brokers.types import Quote
from common.clocks import machine_time
from prices.tick_judge import Recent, Sent, Verdict, is_far, is_independent, judge_next

HOLD_SECONDS = 1.0
STALLED_SECONDS = 3.0  # longer than any pause of the thread that looks
RECENT = 9  # spreads, of which the median counts
RANGE_QUOTES = 50  # whose prices are the recent range

Suspects = dict[str, tuple[Quote, Quote, float]]
"""By pair: its last quote, the newest suspect one, and when that came (machine time)."""


@dataclass(slots=True)
class Suspect:
    """A quote that is held back. since: when it came, machine time. denied: by a second source."""

    sent: Sent
    since: float
    denied: bool = False


@dataclass(slots=True)
class _Pair:
    """What is known of a pair. is_known: a price of it has counted. middles: doubled. known_range:
    of earlier prices, until enough new ones came. held: by whether it is above the last quote."""

    last: Sent
    is_known: bool = True
    spreads: deque[Decimal] = field(default_factory=lambda: deque(maxlen=RECENT))
    middles: deque[Decimal] = field(default_factory=lambda: deque(maxlen=RANGE_QUOTES))
    known_range: Decimal | None = None
    held: dict[bool, Suspect] = field(default_factory=dict)

    def copy(self) -> "_Pair":
        """Return one that changes on its own."""
        held = {is_up: replace(suspect) for is_up, suspect in self.held.items()}
        return replace(self, spreads=self.spreads.copy(), middles=self.middles.copy(), held=held)

    @property
    def recent(self) -> Recent:
        """What is usual for it."""
        if len(self.middles) < RANGE_QUOTES:
            return Recent(self.spreads, self.known_range)
        return Recent(self.spreads, (max(self.middles) - min(self.middles)) / 2)

    @property
    def newest_held(self) -> Suspect | None:
        """The suspect quote that came last."""
        return next(reversed(self.held.values()), None)

    def passed(self, *quotes: Sent) -> list[Quote]:
        """Record quotes that count; return them. What was held back does not any more."""
        self.held.clear()
        self.is_known = True
        for sent in quotes:
            self.last = sent
            self.spreads.append(sent.quote.ask - sent.quote.bid)
            self.middles.append(sent.quote.ask + sent.quote.bid)
        return [sent.quote for sent in quotes]

    def hold(self, sent: Sent, now: float) -> None:
        """Hold a quote back as the newest one on its side of the last."""
        is_up = _is_up(sent, self.last)
        self.held.pop(is_up, None)  # the newest comes last
        self.held[is_up] = Suspect(sent, now)

    def hold_again(self, sent: Sent, now: float) -> None:
        """Hold back what is no new statement: its second goes on, if it is the newest."""
        is_up = _is_up(sent, self.last)
        newest, suspect = self.newest_held, self.held[is_up]
        if suspect is newest:
            suspect.sent = replace(sent, at=max(sent.at, suspect.sent.at))
        else:
            self.hold(sent, now)


@dataclass(frozen=True, slots=True)
class Held:
    """How many quotes were held back, and the last of them as a text; empty: none yet."""

    count: int = 0
    last: str = ""


class HeldQuotes:
    """The quotes of a source that are held back, at most two of each pair."""

    def __init__(self) -> None:
        self._pairs: dict[str, _Pair] = {}
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
                pair = self._pairs[quote.symbol] = _Pair(Sent(quote, quote.time))
                pair.passed(pair.last)
                pair.known_range = (ranges or {}).get(quote.symbol)

    def passed(self, quote: Quote, now: float, sent_at: datetime | None = None) -> list[Quote]:
        """Return the quotes that count from now on, in order.

        now: machine time. sent_at: the time that its source gave it; None: `quote.time`.
        """
        sent = Sent(quote, sent_at or quote.time)
        if (pair := self._pairs.get(quote.symbol)) is None:
            pair = self._pairs[quote.symbol] = _new_pair(sent, now)
            return []
        if not pair.is_known:
            return self._second_of_all(pair, sent, now)
        held = pair.held.get(_is_up(sent, pair.last))
        suspect, newest = held.sent if held else None, pair.newest_held
        verdict = judge_next(
            sent, pair.last, suspect, pair.recent, newest=newest.sent if newest else None
        )
        if verdict is Verdict.REPEATED:
            return []
        if verdict is Verdict.OK:
            return pair.passed(sent)
        if suspect is None:
            return self._hold(pair, sent, now)
        if verdict is Verdict.CONFIRMED:
            return self._confirmed(pair, suspect, sent, now)
        pair.hold_again(sent, now)
        return []

    def _confirmed(self, pair: _Pair, held: Sent, sent: Sent, now: float) -> list[Quote]:
        """Return what two far quotes on the same side have both reached."""
        if not is_far(sent.quote, held.quote, pair.recent):
            return pair.passed(held, sent)
        if _distance(sent, pair.last) < _distance(held, pair.last):
            return pair.passed(sent)
        return pair.passed(held) + self._hold(pair, sent, now)

    def _second_of_all(self, pair: _Pair, sent: Sent, now: float) -> list[Quote]:
        """Judge a quote of a pair of which only one is known, which is held back."""
        (first,) = pair.held.values()
        if is_far(sent.quote, first.sent.quote, pair.recent):
            self._pairs[sent.quote.symbol] = _new_pair(sent, now)
            return []
        if is_independent(sent, first.sent):
            return pair.passed(first.sent, sent)
        first.sent = replace(sent, at=max(sent.at, first.sent.at))
        return []

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
                for suspect in pair.held.values():
                    suspect.since = now
            elif now - newest.since >= HOLD_SECONDS and not newest.denied:
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
        self, opinions: Mapping[str, bool], suspects: Mapping[str, Quote], at: datetime
    ) -> list[Quote]:
        """Apply what a second source says of suspect quotes, by pair; return those that count.

        suspects: what it was asked about; one that was replaced meanwhile is not decided.
        """
        found: list[Quote] = []
        for symbol, is_right in opinions.items():
            pair = self._pairs[symbol]
            newest = pair.newest_held
            if newest is None or newest.sent.quote != suspects[symbol]:
                continue
            newest.denied = not is_right
            if is_right:
                found += pair.passed(_as_of(newest.sent, at))
        return found

    def take(self) -> Held:
        """Return how many quotes were held back since the last call, and the last of all."""
        taken, self._taken = self._taken, Held(0, self._taken.last)
        return taken

    def _hold(self, pair: _Pair, sent: Sent, now: float) -> list[Quote]:
        pair.hold(sent, now)
        quote, last = sent.quote, pair.last.quote
        text = (
            f"{quote.symbol} {quote.bid:f}/{quote.ask:f} after {last.bid:f}/{last.ask:f},"
            f" {quote.time:%Y-%m-%d %H:%M:%S} UTC"
        )
        self._taken = Held(self._taken.count + 1, text)
        return []


def _new_pair(sent: Sent, now: float) -> _Pair:
    """Return a pair whose only quote is held back."""
    pair = _Pair(sent, is_known=False)
    pair.spreads.append(sent.quote.ask - sent.quote.bid)
    pair.hold(sent, now)
    return pair


def _as_of(sent: Sent, at: datetime) -> Sent:
    return replace(sent, quote=replace(sent.quote, time=at))


def _is_up(sent: Sent, last: Sent) -> bool:
    return sum(sent.prices) > sum(last.prices)


def _distance(sent: Sent, last: Sent) -> Decimal:
    return abs(sum(sent.prices, Decimal(0)) - sum(last.prices, Decimal(0)))


def waiting(suspects: Suspects) -> list[str]:
    """Return the pairs whose suspect quote waits for longer than silence takes to confirm it."""
    now = machine_time()
    return sorted(pair for pair, (_, _, at) in suspects.items() if now - at > HOLD_SECONDS)
