"""When a fallback is used, at which price, and when it ends."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.types import Quote
from prices.fallback import (
    CURRENT,
    OWN_GAP,
    RETURN,
    SILENT,
    Anchors,
    Stored,
    Use,
    anchored,
    next_use,
    shifted,
    to_publish,
)

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
PAIR, FIRST, SECOND = "EUR/USD", 2, 3


def stored(bid: str, seconds: float = 0, *, ask: str = "", is_own: bool = True) -> Stored:
    at = NOW + timedelta(seconds=seconds)
    return Stored(Quote(PAIR, D(bid), D(ask or bid) + (0 if ask else D("0.0002")), at), at, is_own)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


QUIET = SILENT.total_seconds()
OWN = stored("1.1000")
BOTH = {FIRST: stored("1.0990"), SECOND: stored("1.1010")}
KNOWN = anchored(Anchors(), OWN, BOTH, None, NOW)
USE = Use(FIRST, (D("0.0010"), D("0.0010")), NOW)


def fresh(seconds: float, first: str = "1.0990", second: str = "1.1010") -> dict[int, Stored]:
    return {FIRST: stored(first, seconds), SECOND: stored(second, seconds)}


def test_first_fallback_is_used_after_silence() -> None:
    assert next_use(OWN, None, fresh(QUIET), KNOWN, after(QUIET)) is None
    later = QUIET + 0.1
    use = next_use(OWN, None, fresh(later), KNOWN, after(later))
    assert use == USE


def test_next_fallback_is_used_if_the_first_is_silent_too() -> None:
    later = QUIET + 1
    others = fresh(later) | {FIRST: stored("1.0990")}
    use = next_use(OWN, None, others, KNOWN, after(later))
    assert use is not None
    assert (use.fallback_id, use.offsets) == (SECOND, (D("-0.0010"), D("-0.0010")))


def test_fallback_whose_distance_is_not_known_is_not_used() -> None:
    later = QUIET + 1
    assert next_use(OWN, None, fresh(later), Anchors(), after(later)) is None
    unknown = anchored(Anchors(), OWN, fresh(later), None, after(later))
    assert unknown.offsets == {}, "what it quoted when the source spoke last is not known"


def test_fallback_far_away_is_another_instrument() -> None:
    others = {FIRST: stored("1.2000")}
    anchors = anchored(Anchors(), OWN, others, None, NOW)
    later = QUIET + 1
    assert next_use(OWN, None, {FIRST: stored("1.2", later)}, anchors, after(later)) is None


def test_fallback_that_lives_on_a_fallback_is_not_used() -> None:
    later = QUIET + 1
    others = {FIRST: stored("1.0990", later, is_own=False)}
    assert next_use(OWN, None, others, KNOWN, after(later)) is None


def test_first_price_after_the_switch_is_the_last_before_it() -> None:
    quote = shifted(stored("1.0990", QUIET), USE)
    assert quote is not None
    assert (quote.bid, quote.ask) == (D("1.1000"), D("1.1002"))


@given(st.decimals("0.5", "2", places=5), st.decimals("-0.02", "0.02", places=5),
       st.decimals("-0.001", "0.001", places=5))  # fmt: skip
def test_price_moves_by_what_the_fallback_moves(own: D, apart: D, moved: D) -> None:
    """Whatever lies between the two sources: a switch itself moves no price."""
    own_row = Stored(Quote(PAIR, own, own + D("0.0002"), NOW), NOW)
    other = own + apart
    others = {FIRST: Stored(Quote(PAIR, other, other + D("0.0005"), NOW), NOW)}
    offsets = anchored(Anchors(), own_row, others, None, NOW).offsets[FIRST]
    later = Stored(Quote(PAIR, other + moved, other + moved + D("0.0005"), NOW), NOW)
    quote = shifted(later, Use(FIRST, offsets, NOW))
    assert quote is not None
    assert (quote.bid, quote.ask) == (own + moved, own + moved + D("0.0002"))


def test_bid_and_ask_meet_where_the_spread_is_smaller_than_it_was() -> None:
    use = Use(FIRST, (D("0.0010"), D("0.0000")), NOW)
    quote = shifted(stored("1.0990", ask="1.0992"), use)
    assert quote is not None
    assert quote.bid == quote.ask == D("1.0996")


def test_only_newer_quotes_of_the_fallback_are_published() -> None:
    row = stored("1.1000", 40, is_own=False)
    assert to_publish(row, USE, {FIRST: stored("1.0991", 40)}) is None
    assert to_publish(row, USE, {FIRST: stored("1.0991", 41)}) is not None
    assert to_publish(row, None, {FIRST: stored("1.0991", 41)}) is None
    assert to_publish(row, USE, {}) is None


def test_fallback_ends_after_the_source_has_quoted_for_a_while() -> None:
    use: Use | None = USE
    back = RETURN.total_seconds()
    for second in range(40, 40 + int(back) + 1):
        assert use is not None, second
        row = stored("1.1", second)
        use = next_use(row, use, fresh(second), KNOWN, after(second))
    assert use is None


@pytest.mark.parametrize("gap", [OWN_GAP.total_seconds() + 1, 60])
def test_source_that_comes_and_goes_does_not_flap(gap: float) -> None:
    use: Use | None = USE
    second = 40.0
    for _ in range(20):
        row = stored("1.1", second)
        use = next_use(row, use, fresh(second), KNOWN, after(second))
        assert use is not None
        use = next_use(row, use, fresh(second + gap - 1), KNOWN, after(second + gap - 1))
        assert use is not None
        second += gap


def test_own_quote_sets_the_distance_again() -> None:
    row = stored("1.1005", 40)
    anchors = anchored(KNOWN, row, fresh(40), USE, after(40))
    use = next_use(row, USE, fresh(40), anchors, after(40))
    assert use is not None
    assert use.offsets == (D("0.0015"), D("0.0015"))


def test_distance_is_kept_while_the_fallback_is_what_is_stored() -> None:
    """Else what it moved between two looks would be lost."""
    row = stored("1.1000", 40, is_own=False)
    anchors = anchored(KNOWN, row, fresh(41, first="1.0900"), USE, after(41))
    assert anchors.offsets[FIRST] == USE.offsets
    assert anchors.offsets[SECOND] == (D("-0.0010"), D("-0.0010"))


def test_next_fallback_goes_on_from_the_price_of_the_first() -> None:
    row = stored("1.1000", 40, is_own=False)
    anchors = anchored(KNOWN, row, fresh(40), USE, after(40))
    later = 41 + CURRENT.total_seconds()
    others = fresh(later) | {FIRST: stored("1.0990", 40)}
    use = next_use(row, USE, others, anchors, after(later))
    assert use is not None
    assert (use.fallback_id, use.own_at) == (SECOND, USE.own_at)
    quote = shifted(others[SECOND], use)
    assert quote is not None
    assert quote.bid == D("1.1000")


def test_use_goes_on_if_no_fallback_delivers() -> None:
    later = 41 + CURRENT.total_seconds()
    row = stored("1.1000", 40, is_own=False)
    assert next_use(row, USE, {}, KNOWN, after(later)) == USE
