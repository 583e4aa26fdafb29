"""What is known of one pair of a source: its last price, what is usual, and what is held back."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from brokers.types import Quote
from prices.tick_judge import Recent, Sent, is_far, is_independent, reached

RECENT = 9  # spreads, of which the median counts
FEW_SPREADS = 3  # fewer may all be of a moment at which the market was thin
RANGE_QUOTES = 50  # whose prices are the recent range
REPEATS = 3  # so often a source states a price again against what a second source says
REPEAT_SECONDS = 0.5  # apart: what is delivered at once is stated once


@dataclass(slots=True)
class Suspect:
    """A quote that is held back. since: when it came, machine time.

    sent: as it was stated last. first: the prices that it came with, which the next quote must
    differ from to confirm it, with the newest time. denied_until: by a second source; was_denied:
    ever. repeats: how often it was stated again. has_restarted: its second began again after a
    pause of the process.
    """

    sent: Sent
    first: Sent
    since: float
    denied_until: float = float("-inf")
    was_denied: bool = False
    repeats: int = 0
    repeated_at: float = float("-inf")
    has_restarted: bool = False

    def again(self, sent: Sent, now: float) -> None:
        """Take what is no new statement. A later one is its source's word once more."""
        if sent.at > self.sent.at and now - self.stated_at >= REPEAT_SECONDS:
            self.repeats, self.repeated_at = self.repeats + 1, now
        at = max(sent.at, self.sent.at)
        self.sent, self.first = replace(sent, at=at), replace(self.first, at=at)

    @property
    def stated_at(self) -> float:
        """When its source stated it last, machine time."""
        return max(self.since, self.repeated_at)

    def is_denied(self, now: float) -> bool:
        """Return whether silence confirms it not yet. A source that insists is believed."""
        return now < self.denied_until and self.repeats < REPEATS


@dataclass(slots=True)
class JudgedPair:
    """What is known of a pair. is_known: a price of it has counted. middles: doubled. known_range:
    of earlier prices, until enough new ones came. held: by whether it is above the last quote."""

    last: Sent
    is_known: bool = True
    spreads: deque[Decimal] = field(default_factory=lambda: deque(maxlen=RECENT))
    middles: deque[Decimal] = field(default_factory=lambda: deque(maxlen=RANGE_QUOTES))
    known_range: Decimal | None = None
    held: dict[bool, Suspect] = field(default_factory=dict)

    def copy(self) -> "JudgedPair":
        """Return one that changes on its own."""
        held = {up: replace(suspect) for up, suspect in self.held.items()}
        return replace(self, spreads=self.spreads.copy(), middles=self.middles.copy(), held=held)

    def usual_beside(self, sent: Sent) -> Recent:
        """What is usual for it, to judge a quote by."""
        spreads: Sequence[Decimal] = self.spreads
        if len(spreads) < FEW_SPREADS:
            spreads = [min(*spreads, sent.quote.ask - sent.quote.bid)]
        if len(self.middles) < RANGE_QUOTES:
            return Recent(spreads, self.known_range)
        return Recent(spreads, (max(self.middles) - min(self.middles)) / 2)

    @property
    def newest_held(self) -> Suspect | None:
        """The suspect quote that came last."""
        return next(reversed(self.held.values()), None)

    def held_beside(self, sent: Sent) -> Suspect | None:
        """Return the suspect quote on the same side of the last one, if any."""
        return self.held.get(self._is_up(sent))

    def passed(self, *quotes: Sent) -> list[Quote]:
        """Record quotes that count; return them. What was held back does not any more."""
        self.held.clear()
        self.is_known = True
        for sent in quotes:
            self.last = sent
            self.spreads.append(sent.quote.ask - sent.quote.bid)
            self.middles.append(sent.quote.ask + sent.quote.bid)
        return [sent.quote for sent in quotes]

    def confirmed(self, suspect: Suspect, sent: Sent) -> tuple[list[Quote], bool]:
        """Record what two far quotes have both reached; return it, and whether the second counts.

        One that does not is far from it, so that it is suspect itself.
        """
        first, recent = suspect.first, self.usual_beside(sent)
        if not is_far(sent.quote, first.quote, recent):
            return self.passed(first, sent), True
        both = reached(first.quote, sent.quote, self.last.quote)
        if not is_far(sent.quote, both, recent):
            return self.passed(sent), True
        return self.passed(replace(first, quote=both)), False

    def second_of_all(self, sent: Sent, now: float) -> list[Quote] | None:
        """Judge a quote of a pair of which only one is known, which is held back.

        None: the two contradict each other.
        """
        (held,) = self.held.values()
        narrower = min(quote.ask - quote.bid for quote in (held.sent.quote, sent.quote))
        if is_far(sent.quote, held.first.quote, Recent([narrower], self.known_range)):
            return None
        if is_independent(sent, held.first):
            return self.passed(held.first, sent)
        held.again(sent, now)
        return []

    def hold(self, sent: Sent, now: float) -> None:
        """Hold a quote back as the newest one on its side of the last."""
        up = self._is_up(sent)
        self.held.pop(up, None)  # the newest comes last
        self.held[up] = Suspect(sent, sent, now)

    def hold_again(self, suspect: Suspect, sent: Sent, now: float) -> None:
        """Hold back what is no new statement: its second goes on, if it is the newest."""
        if suspect is self.newest_held:
            suspect.again(sent, now)
        else:
            self.hold(sent, now)

    def begin_again(self, now: float) -> None:
        """Begin the second of what is held back again, once: the process stood still."""
        for suspect in self.held.values():
            if not suspect.has_restarted:
                suspect.since, suspect.has_restarted = now, True

    def _is_up(self, sent: Sent) -> bool:
        return sum(sent.prices) > sum(self.last.prices)


def new_pair(sent: Sent, now: float) -> JudgedPair:
    """Return a pair whose only quote is held back."""
    pair = JudgedPair(sent, is_known=False)
    pair.spreads.append(sent.quote.ask - sent.quote.bid)
    pair.hold(sent, now)
    return pair
