"""A lone bad tick counts for nothing; a move that another quote or a second confirms counts."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.types import Quote
from prices import quote_intake
from prices.held_back import HOLD_SECONDS, HeldQuotes
from prices.judged_pair import RANGE_QUOTES, JudgedPair
from prices.quote_intake import QuoteIntake
from prices.tick_judge import Sent

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
PAIR, OTHER = "EUR/USD", "GBP/USD"
SPREAD = D("0.0002")


class Source:
    """A source's intake, with clocks that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds, self.sent = 1000.0, timedelta()
        monkeypatch.setattr(quote_intake, "machine_time", lambda: self.seconds)
        monkeypatch.setattr(quote_intake, "market_now", self.now)
        self.intake = QuoteIntake({PAIR: "eurusd", OTHER: "gbpusd"}, {})

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds - 1000)

    def send(self, *bids: str, pair: str = PAIR, spread: D = SPREAD) -> list[str]:
        """Send quotes; return the bids that count."""
        for bid in bids:
            self.sent += timedelta(milliseconds=1)
            self.accept(bid, self.now() + self.sent, pair=pair, spread=spread)
        return self.taken()

    def accept(self, bid: str, at: datetime, *, pair: str = PAIR, spread: D = SPREAD) -> None:
        """Receive a quote with the time that the broker gave it."""
        assert self.intake.accept(Quote(pair, D(bid), D(bid) + spread, at))

    def taken(self) -> list[str]:
        return [str(quote.bid) for quote in self.intake.take_accepted()]


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    made = Source(monkeypatch)
    assert made.send("1.1000", "1.1001", "1.1000") == ["1.1000", "1.1001", "1.1000"]
    return made


def test_newest_of_three_suspects_is_the_one_that_came_last() -> None:
    """The third is on the side of the first and takes its place."""
    at = [Sent(Quote(PAIR, D(bid), D(bid) + SPREAD, NOON), NOON) for bid in ("1", "2", "0.5", "3")]
    pair = JudgedPair(at[0])
    for seconds, sent in enumerate(at[1:]):
        pair.hold(sent, float(seconds))
    assert pair.newest_held is not None
    assert pair.newest_held.sent is at[3]


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
        (["0.5500", "0.5500", "1.1001"], ["1.1001"]),  # a repetition confirms nothing
        # a bad tick on the other side between two quotes of a real move hides it no longer
        (["0.5500", "2.2000", "0.5501"], ["0.5500", "0.5501"]),
        (["2.2000", "0.5500", "2.2001", "0.5501"], ["2.2000", "2.2001"]),
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
    assert len(source.send("1.3000", "1.3001", pair=OTHER, spread=wide)) == 2
    assert source.send("1.1100", pair=OTHER, spread=wide) == ["1.1100"]
    assert source.send("0.9000", pair=OTHER, spread=wide) == []


CALM = [f"1.1{n % 3:03}" for n in range(RANGE_QUOTES)]  # within 2 pips


@pytest.mark.parametrize(
    ("spikes", "counting"),
    [
        (["1.1060", "1.1001"], ["1.1001"]),  # 58 pips, less than 2 %: a lone bad tick
        (["1.1060", "1.1061"], ["1.1060", "1.1061"]),  # news
        (["1.0940"], []),
        (["1.1010"], ["1.1010"]),  # less than 0.1 %
    ],
)
def test_small_spike_is_far_from_a_calm_range(
    source: Source, spikes: list[str], counting: list[str]
) -> None:
    source.send(*CALM)
    assert source.send(*spikes) == counting


def test_small_move_counts_at_once_in_a_lively_range(source: Source) -> None:
    source.send(*(f"1.1{n % 40:03}" for n in range(0, 7 * RANGE_QUOTES, 7)))
    assert source.send("1.1120") == ["1.1120"]


def test_range_is_judged_by_quotes_and_not_by_time(source: Source) -> None:
    """A quote a minute: the gap acts after a second, not with the next minute's quote."""
    for bid in CALM:
        source.send(bid)
        source.seconds += 60
    assert source.send("0.9900") == []
    source.seconds += HOLD_SECONDS
    assert source.taken() == ["0.9900"]


def test_quote_that_silence_confirms_is_of_now(source: Source) -> None:
    """Else it would not count for positions that changed while it was held back."""
    source.send("0.5500")
    source.seconds += HOLD_SECONDS
    (quote,) = source.intake.take_accepted()
    assert (quote.bid, quote.time) == (D("0.5500"), source.now())


def test_source_that_is_opened_again_goes_on(source: Source) -> None:
    """Its stream was replaced for more pairs, or had failed, while a quote was held back."""
    assert source.send("0.5500") == []
    source.seconds += HOLD_SECONDS / 2
    source.intake = QuoteIntake({PAIR: "eurusd"}, {}, source.intake.judged())
    assert source.taken() == []
    source.seconds += HOLD_SECONDS / 2
    assert source.taken() == ["0.5500"]


def test_pause_of_the_process_confirms_nothing(source: Source) -> None:
    """The quote that contradicts may wait to be read."""
    assert source.send("0.5500") == []
    source.seconds += 60
    assert source.taken() == []
    source.seconds += HOLD_SECONDS / 2
    assert source.send("1.1001") == ["1.1001"]
    assert source.send("0.5500") == []
    source.seconds += 60
    assert source.taken() == []
    source.seconds += HOLD_SECONDS
    assert source.taken() == ["0.5500"], "and nothing is lost by it"


@given(
    st.lists(
        st.tuples(st.sampled_from(["1.1", "1.1004", "1.16", "1.0", "0.9", "2.2", "0.5"]),
                  st.sampled_from([0.0, 0.3, 0.7, 1.1])),
        min_size=1, max_size=12,
    )
)  # fmt: skip
def test_newest_price_counts_after_a_second_of_silence(sent: list[tuple[str, float]]) -> None:
    """Whatever was sent: no exit is held back for longer."""
    held, now, counts = HeldQuotes(), 0.0, list[Quote]()
    held.expect([Quote(PAIR, D("1.1"), D("1.1002"), NOON)])
    for number, (bid, pause) in enumerate(sent, 1):
        at = NOON + timedelta(milliseconds=number)
        counts += held.passed(Quote(PAIR, D(bid), D(bid) + SPREAD, at), now)
        now += pause
        counts += held.released(now, NOON)
    counts += held.released(now + HOLD_SECONDS, NOON)
    assert counts[-1].bid == D(sent[-1][0])


@given(st.permutations(["0.55", "2.2", "0.97", "1.25"]), st.integers(0, 3))
def test_ticks_that_are_denied_one_by_one_count_for_nothing(bad: list[str], calm: int) -> None:
    held = HeldQuotes()
    held.expect([Quote(PAIR, D("1.1"), D("1.1002"), NOON)])
    for bid in bad:
        assert held.passed(Quote(PAIR, D(bid), D(bid) + SPREAD, NOON), 0.0) == []
        for _ in range(calm + 1):
            near = Quote(PAIR, D("1.1001"), D("1.1003"), NOON + timedelta(seconds=1))
            assert held.passed(near, 0.0) == [near]


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


# ---- what confirms nothing: the case to fear is a suspect quote that passes another way ----------
def test_repeated_quote_confirms_nothing(source: Source) -> None:
    """It is sent again with a later time, as by a query or a new subscription."""
    assert source.send("0.5500", "0.5500", "0.5500") == []
    assert source.send("1.1001") == ["1.1001"]


def test_redelivered_quote_confirms_nothing(source: Source) -> None:
    at = source.now() + timedelta(seconds=0.2)
    source.accept("0.5500", at)
    source.accept("0.5500", at)
    assert source.taken() == []
    assert source.send("1.1001") == ["1.1001"]


def test_second_quote_of_same_moment_confirms_nothing(source: Source) -> None:
    at = source.now() + timedelta(seconds=0.2)
    source.accept("0.5500", at)
    source.accept("0.5501", at)
    source.accept("0.5502", at - timedelta(seconds=0.1))  # out of order
    assert source.taken() == []
    source.seconds += HOLD_SECONDS
    assert source.taken() == ["0.5502"], "but the move is not hidden for longer than a second"


def test_redelivered_last_quote_denies_no_gap(source: Source) -> None:
    at = source.now() + timedelta(seconds=0.1)
    source.accept("1.1000", at)
    source.accept("0.9900", at + timedelta(seconds=0.1))
    source.accept("1.1000", at)
    source.accept("0.9901", at + timedelta(seconds=0.2))
    assert source.taken() == ["1.1000", "0.9900", "0.9901"]


def test_true_quote_of_same_second_denies_a_bad_tick(source: Source) -> None:
    """A broker that states whole seconds: the true price looks like the last one again."""
    at = source.now() + timedelta(seconds=1)
    for bid in ("1.1000", "0.5500", "1.1000"):
        source.accept(bid, at)
    source.seconds += 2 * HOLD_SECONDS
    assert source.taken() == ["1.1000", "1.1000"]


def test_bad_ticks_in_one_batch_count_for_nothing(source: Source) -> None:
    """As a bulk delivery: they are judged one by one, before any of them is used."""
    assert source.send("1.1001", "0.5500", "1.1002", "2.2000", "1.1001") == [
        "1.1001", "1.1002", "1.1001",
    ]  # fmt: skip


def test_first_quote_of_unknown_pair_waits_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(monkeypatch)
    assert source.send("0.5500", "0.5500") == []
    assert source.send("1.1000") == []
    assert source.send("1.1001") == ["1.1000", "1.1001"]


def test_first_quote_of_unknown_pair_counts_after_a_second(source: Source) -> None:
    assert source.send("1.3000", pair=OTHER) == []
    source.seconds += HOLD_SECONDS
    assert source.taken() == ["1.3000"]
    assert source.send("0.9000", pair=OTHER) == []


def test_weekend_gap_acts_with_its_second_quote(source: Source) -> None:
    source.taken()
    source.seconds += 48 * 3600
    assert source.send("1.0500") == []
    source.seconds += 0.2
    assert source.send("1.0502") == ["1.0500", "1.0502"]


def test_bad_tick_at_market_open_counts_for_nothing(source: Source) -> None:
    source.taken()
    source.seconds += 48 * 3600
    assert source.send("0.5500") == []
    assert source.send("1.0990") == ["1.0990"]


def test_suspicion_outlives_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The new process gets the same bad price again, and knows only what was stored."""
    source = Source(monkeypatch)
    source.intake.expect([Quote(PAIR, D("1.1000"), D("1.1002"), NOON)])
    at = source.now() + timedelta(seconds=1)
    source.accept("0.5500", at)
    again = Source(monkeypatch)
    again.intake.expect([Quote(PAIR, D("1.1000"), D("1.1002"), NOON)])
    again.accept("0.5500", at)
    again.accept("0.5500", at)
    assert again.taken() == []
    assert again.send("1.1001") == ["1.1001"]


def test_range_of_before_a_restart_judges_small_spikes(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(monkeypatch)
    source.intake.expect([Quote(PAIR, D("1.1000"), D("1.1002"), NOON)], {PAIR: D("0.0004")})
    assert source.send("1.1060") == []
    assert source.send("1.1001") == ["1.1001"]


# ---- a second source -------------------------------------------------------------------------
def opinion(source: Source, *, is_right: bool) -> None:
    asked = {pair: suspect for pair, (_, suspect, _) in source.intake.suspects().items()}
    source.intake.decide(dict.fromkeys(asked, is_right), asked)


def test_second_source_confirms_a_gap_at_once(source: Source) -> None:
    assert source.send("0.9900") == []
    opinion(source, is_right=True)
    assert source.taken() == ["0.9900"]


def test_silence_confirms_nothing_that_a_second_source_denies(source: Source) -> None:
    assert source.send("0.5500") == []
    opinion(source, is_right=False)
    source.seconds += 1.9 * HOLD_SECONDS
    assert source.taken() == []
    assert source.send("1.1001") == ["1.1001"]


def test_second_quote_counts_whatever_a_second_source_says(source: Source) -> None:
    """The account trades on its own market: a crash there alone is a crash."""
    assert source.send("0.9900") == []
    opinion(source, is_right=False)
    assert source.send("0.9901") == ["0.9900", "0.9901"]


# ---- after a restart -------------------------------------------------------------------------
def test_wide_spread_of_before_a_restart_hides_no_bad_quote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stored quote is of a weekend's last minute."""
    source = Source(monkeypatch)
    source.intake.expect([Quote(PAIR, D("1.0975"), D("1.1025"), NOON)], {PAIR: D("0.0010")})
    assert source.send("1.0450") == []
    assert source.send("1.0999") == ["1.0999"]
