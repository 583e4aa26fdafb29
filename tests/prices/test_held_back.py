"""A lone bad tick counts for nothing; a move that another quote or a second confirms counts."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from brokers.types import Quote
from prices import quote_intake
from prices.held_back import HOLD_SECONDS
from prices.quote_intake import QuoteIntake

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
PAIR, OTHER = "EUR/USD", "GBP/USD"
SPREAD = D("0.0002")


class Source:
    """A source's intake, with clocks that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr(quote_intake, "machine_time", lambda: self.seconds)
        monkeypatch.setattr(quote_intake, "market_now", self.now)
        self.intake = QuoteIntake({PAIR: "eurusd", OTHER: "gbpusd"}, {})

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds - 1000)

    def send(self, *bids: str, pair: str = PAIR, spread: D = SPREAD) -> list[str]:
        """Send quotes; return the bids that count."""
        now = self.now()
        for bid in bids:
            assert self.intake.accept(Quote(pair, D(bid), D(bid) + spread, now))
        return self.taken()

    def taken(self) -> list[str]:
        return [str(quote.bid) for quote in self.intake.take_accepted()]


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    made = Source(monkeypatch)
    assert made.send("1.1000", "1.1001", "1.1000") == ["1.1000", "1.1001", "1.1000"]
    return made


@pytest.mark.parametrize("bad", ["0.5500", "2.2000", "1.0770", "0.0001"])
def test_lone_bad_tick_counts_for_nothing(source: Source, bad: str) -> None:
    assert source.send(bad) == []
    source.seconds += HOLD_SECONDS / 2
    assert source.send("1.1002") == ["1.1002"]
    source.seconds += 2 * HOLD_SECONDS
    assert source.taken() == []
    held = source.intake.take_held()
    assert held.count == 1
    assert (
        held.last == f"EUR/USD {bad}/{D(bad) + SPREAD} after 1.1000/1.1002, 2026-05-04 12:00:00 UTC"
    )
    assert source.intake.take_held().count == 0


@pytest.mark.parametrize(
    ("quotes", "counting"),
    [
        (["0.5500", "0.5501"], ["0.5500", "0.5501"]),  # another quote confirms the move
        (["0.5500", "1.0500"], ["1.0500"]),  # both have reached the nearer one
        (["1.0500", "0.5500"], ["1.0500"]),
        (["0.5500", "2.2000"], []),  # they contradict each other
        (["0.5500", "2.2000", "1.1000"], ["1.1000"]),
        (["1.0700", "1.0400", "1.0100", "0.9800"], ["1.0700", "1.0400", "1.0100"]),  # a crash
        (["1.0790"], ["1.0790"]),  # less than 2 %
        (["0.5500", "0.5500", "1.1000"], ["0.5500", "0.5500"]),
    ],
)
def test_price_counts_once_two_quotes_have_reached_it(
    source: Source, quotes: list[str], counting: list[str]
) -> None:
    assert source.send(*quotes) == counting


def test_move_counts_when_nothing_contradicts_it_for_a_second(source: Source) -> None:
    assert source.send("0.5500") == []
    source.seconds += HOLD_SECONDS - 0.01
    assert source.taken() == []
    source.seconds += 0.01
    assert source.taken() == ["0.5500"]
    assert source.send("0.5501") == ["0.5501"]


def test_far_quote_counts_at_once_with_wide_spread(source: Source) -> None:
    """2 % and less than 20 spreads, as of an illiquid coin."""
    wide = D("0.01")
    assert source.send("1.3000", pair=OTHER, spread=wide) == ["1.3000"]
    assert source.send("1.1100", pair=OTHER, spread=wide) == ["1.1100"]
    assert source.send("0.9000", pair=OTHER, spread=wide) == []


def test_one_side_alone_makes_a_quote_far(source: Source) -> None:
    intake = source.intake
    assert intake.accept(Quote(PAIR, D("0.9000"), D("1.1002"), NOON))
    assert source.taken() == []


def test_quote_of_another_pair_decides_nothing(source: Source) -> None:
    assert source.send("0.5500") == []
    assert source.send("1.3000", "1.3001", pair=OTHER) == ["1.3000", "1.3001"]
    assert source.send("1.1000") == ["1.1000"]


def test_first_quote_is_compared_with_stored_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = Source(monkeypatch)
    source.intake.expect([Quote(PAIR, D("1.1000"), D("1.1002"), NOON)])
    assert source.send("0.5500") == []
    assert source.send("1.1001") == ["1.1001"]
    source.intake.expect([Quote(PAIR, D("0.5500"), D("0.5502"), NOON)])
    assert source.send("1.1002") == ["1.1002"], "it has quotes of its own"
