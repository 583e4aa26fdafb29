"""Brokers that send bid and ask apart: a tick of one side says nothing of the other."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from brokers.types import Quote
from prices.held_back import HOLD_SECONDS, HeldQuotes

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
PAIR = "EUR/USD"


class Line:
    """A pair that last was at 1.1000/1.1001, and whose sides tick every 0.1 s."""

    def __init__(self) -> None:
        self.held, self.seconds = HeldQuotes(), 0.0
        self.held.expect([Quote(PAIR, D("1.1000"), D("1.1001"), NOON)])

    def tick(self, *quotes: str) -> list[str]:
        """Receive quotes, each as "bid/ask"; return those that count."""
        found = list[Quote]()
        for text in quotes:
            self.seconds += 0.1
            bid, ask = map(D, text.split("/"))
            at = NOON + timedelta(seconds=self.seconds)
            found += self.held.passed(Quote(PAIR, bid, ask, at), self.seconds)
        return [f"{quote.bid}/{quote.ask}" for quote in found]

    def released(self) -> list[str]:
        """Let the rest of a second pass; return what counts."""
        self.held.released(self.seconds, NOON)
        self.seconds += HOLD_SECONDS
        return [
            f"{quote.bid}/{quote.ask}"
            for quote in self.held.released(self.seconds, NOON + timedelta(seconds=self.seconds))
        ]


@pytest.fixture
def line() -> Line:
    return Line()


def test_tick_of_the_other_side_confirms_no_bad_bid(line: Line) -> None:
    assert line.tick("0.9900/1.1001", "0.9900/1.1002", "0.9900/1.1001") == []
    assert line.tick("1.1000/1.1001") == ["1.1000/1.1001"]


def test_tick_of_the_other_side_confirms_no_bad_ask(line: Line) -> None:
    assert line.tick("1.1000/1.2300", "1.1001/1.2300", "1.1002/1.2300") == []
    assert line.tick("1.1002/1.1003") == ["1.1002/1.1003"]


def test_second_bid_confirms_a_gap_of_the_bid(line: Line) -> None:
    assert line.tick("0.9900/1.1001", "0.9901/1.1001") == ["0.9900/1.1001", "0.9901/1.1001"]


def test_gap_of_one_side_counts_after_a_second(line: Line) -> None:
    assert line.tick("0.9900/1.1001") == []
    assert line.tick("0.9900/1.1002") == []
    assert line.released() == ["0.9900/1.1002"]


def test_each_side_of_a_gap_counts_with_its_own_second_tick(line: Line) -> None:
    assert line.tick("0.9900/1.1001", "0.9900/0.9902") == []
    assert line.tick("0.9901/0.9902") == ["0.9901/1.1001"], "only one ask was far"
    assert line.tick("0.9901/0.9903") == ["0.9901/0.9902", "0.9901/0.9903"]


def test_each_side_counts_at_what_both_quotes_have_reached(line: Line) -> None:
    """The first was one-sided: no stop between both bids may fire, and one ask says nothing."""
    assert line.tick("0.9500/1.1001", "0.9900/0.9910") == ["0.9900/1.1001"]
    assert line.tick("0.9901/0.9911") == ["0.9900/0.9910", "0.9901/0.9911"]


def test_tick_of_the_other_side_confirms_no_first_quote_of_all() -> None:
    line = Line()
    line.held = HeldQuotes()
    assert line.tick("0.9900/1.1001", "0.9900/1.1002") == []
    assert line.tick("1.1000/1.1002") == []
    assert line.tick("1.1001/1.1003") == ["1.1000/1.1002", "1.1001/1.1003"]
