"""What a second source denies waits, but not without an end."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from brokers.types import Quote
from prices.held_back import (
    DENIAL_SECONDS,
    DROPPED_AFTER,
    HOLD_SECONDS,
    STALLED_SECONDS,
    HeldQuotes,
)

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
PAIR = "EUR/USD"
LOOK = 0.2


class Held:
    """A pair that last was at 1.1000 and whose suspect quotes a second source judges."""

    def __init__(self) -> None:
        self.held, self.seconds, self.counted = HeldQuotes(), 0.0, list[str]()
        self.held.expect([Quote(PAIR, D("1.1000"), D("1.1002"), NOON)])

    @property
    def now(self) -> datetime:
        return NOON + timedelta(seconds=1 + self.seconds)

    def send(self, bid: str, ask: str = "") -> None:
        quote = Quote(PAIR, D(bid), D(ask) if ask else D(bid) + D("0.0002"), self.now)
        self.counted += [str(one.bid) for one in self.held.passed(quote, self.seconds)]

    def consult(self, is_right: bool | None) -> None:
        asked = {pair: suspect for pair, (_, suspect, _) in self.held.suspects().items()}
        opinions = dict.fromkeys(asked, is_right)
        found = self.held.decide(opinions, asked, self.now, self.seconds)
        self.counted += [str(one.bid) for one in found]

    def passes(self, seconds: float, *, is_right: bool | None = False, asks: bool = True) -> None:
        """Let time pass, with a second source that is asked as often as it is."""
        for _ in range(round(seconds / LOOK)):
            self.seconds += LOOK
            if asks:
                self.consult(is_right)
            self.look()

    def look(self) -> None:
        self.counted += [str(one.bid) for one in self.held.released(self.seconds, self.now)]


@pytest.fixture
def held() -> Held:
    made = Held()
    made.look()
    made.send("0.9900")
    return made


def test_denial_holds_while_it_is_repeated(held: Held) -> None:
    held.passes(60)
    assert held.counted == []


def test_denial_ends_with_the_second_source(held: Held) -> None:
    """It was taken away, or its database fails: it is not asked any more."""
    held.passes(2)
    held.passes(DENIAL_SECONDS + LOOK, asks=False)
    assert held.counted == ["0.9900"]


def test_denial_ends_when_the_second_source_says_nothing_any_more(held: Held) -> None:
    """It has moved half way, or has fallen silent."""
    held.passes(2)
    held.passes(LOOK, is_right=None)
    assert held.counted == ["0.9900"]


def test_repetitions_end_a_denial(held: Held) -> None:
    """The market stands still after its gap, and the program pushes the same each second."""
    for _ in range(3):
        held.passes(HOLD_SECONDS)
        assert held.counted == []
        held.send("0.9900")
    held.passes(LOOK)
    assert held.counted == ["0.9900"]


def test_bid_that_stands_beside_a_moving_ask_ends_a_denial(held: Held) -> None:
    for ask in ("0.9903", "0.9904", "0.9903"):
        held.passes(HOLD_SECONDS)
        held.send("0.9900", ask)
    held.passes(LOOK)
    assert held.counted == ["0.9900"]


def test_repetitions_of_one_delivery_end_no_denial(held: Held) -> None:
    held.consult(is_right=False)
    for _ in range(10):
        held.seconds += 0.01
        held.send("0.9900")
    held.passes(60)
    assert held.counted == []


def test_redelivered_quote_ends_no_denial(held: Held) -> None:
    """It has the time that it had."""
    again = Quote(PAIR, D("0.9900"), D("0.9902"), held.now)
    for _ in range(10):
        held.passes(HOLD_SECONDS)
        assert held.held.passed(again, held.seconds) == []
    held.passes(LOOK)
    assert held.counted == []


def test_slow_looks_still_confirm(held: Held) -> None:
    """Each is later than a process that stands still looks: the second begins again once only."""
    for _ in range(2):
        held.seconds += STALLED_SECONDS + 1
        held.look()
    assert held.counted == ["0.9900"]


def test_repetition_of_a_quote_that_stalled_does_not_begin_again(held: Held) -> None:
    for _ in range(2):
        held.seconds += STALLED_SECONDS + 1
        held.send("0.9900")
        held.look()
    assert held.counted == ["0.9900"]


def test_denied_quote_that_is_not_stated_again_is_dropped(held: Held) -> None:
    """Its source has fallen silent: what it stated so long ago is no price of now."""
    held.passes(DROPPED_AFTER + 1)
    held.passes(10, asks=False)
    assert held.counted == []
    held.send("1.0999")
    assert held.counted == ["1.0999"]
