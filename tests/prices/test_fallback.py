"""When a fallback is used, at which price, and when it ends."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.types import Quote
from connections.market_data.source_alarms import FALLBACK_SECONDS
from prices.distances import APART, MIN_SAMPLES, Distance
from prices.fallback import (
    CURRENT,
    LOST,
    OWN_GAP,
    RETURN,
    SILENT,
    Look,
    Stored,
    Use,
    is_covered,
    measured_again,
    next_use,
    sampled,
    shifted,
    to_publish,
)
from prices.quote_intake import CONFIRMATION_SECONDS

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
OPENED = NOW - timedelta(days=1)
PAIR, FIRST, SECOND = "EUR/USD", 2, 3


def stored(bid: str, seconds: float = 0, *, ask: str = "", is_own: bool = True) -> Stored:
    at = NOW + timedelta(seconds=seconds)
    return Stored(Quote(PAIR, D(bid), D(ask or bid) + (0 if ask else D("0.0002")), at), at, is_own)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


QUIET = SILENT.total_seconds()
OWN = stored("1.1000")
USE = Use(FIRST, (D("0.0010"), D("0.0010")), NOW)


def measured(first: str = "1.0990", second: str = "1.1010") -> dict[int, Distance]:
    """The distances after the source and its fallbacks have quoted beside each other."""
    found: dict[int, Distance] = {}
    for n in range(MIN_SAMPLES - 1, -1, -1):
        at = -n * APART.total_seconds()
        both = {FIRST: stored(first, at), SECOND: stored(second, at)}
        found = sampled(found, stored("1.1000", at), both, None)
    return found


KNOWN = measured()


def look(
    row: Stored,
    others: dict[int, Stored],
    seconds: float,
    distances: dict[int, Distance] | None = None,
    opened: datetime | None = OPENED,
) -> Look:
    known = KNOWN if distances is None else distances
    return Look(row, others, known, opened, after(seconds))


def fresh(seconds: float, first: str = "1.0990", second: str = "1.1010") -> dict[int, Stored]:
    return {FIRST: stored(first, seconds), SECOND: stored(second, seconds)}


def test_first_fallback_is_used_after_silence() -> None:
    assert next_use(look(OWN, fresh(QUIET), QUIET), None) is None
    later = QUIET + 0.1
    assert next_use(look(OWN, fresh(later), later), None) == USE


def test_quiet_pair_of_a_healthy_source_is_not_switched() -> None:
    """Of 100 quiet pairs each is confirmed every 35 s; up to 45 s it counts as current."""
    for each in (35, CONFIRMATION_SECONDS):
        row = stored("1.1000", 0)
        assert next_use(look(row, fresh(each), each), None) is None
    assert min(SILENT, OWN_GAP, LOST).total_seconds() > CONFIRMATION_SECONDS
    assert SILENT.total_seconds() + 5 <= FALLBACK_SECONDS


def test_source_that_quotes_every_35_seconds_returns() -> None:
    use: Use | None = USE
    for second in (100, 135):
        assert use is not None
        row = stored("1.1000", second)
        use = next_use(look(row, fresh(second), second), use)
    assert use is None


def test_one_quote_is_no_return() -> None:
    row = stored("1.1000", 100)
    use = next_use(look(row, fresh(100), 100), USE)
    for second in (110, 131, 149):
        assert use is not None
        use = next_use(look(row, fresh(second), second), use)
    assert use is not None


def test_next_fallback_is_used_if_the_first_is_silent_too() -> None:
    later = QUIET + 1
    others = fresh(later) | {FIRST: stored("1.0990")}
    use = next_use(look(OWN, others, later), None)
    assert use is not None
    assert (use.fallback_id, use.offsets) == (SECOND, (D("-0.0010"), D("-0.0010")))


def test_fallback_whose_distance_is_not_known_is_not_used() -> None:
    later = QUIET + 1
    assert next_use(look(OWN, fresh(later), later, {}), None) is None
    unknown = sampled({}, OWN, fresh(later), None)
    assert next_use(look(OWN, fresh(later), later, unknown), None) is None


def test_fallback_far_away_is_another_instrument() -> None:
    later = QUIET + 1
    others = {FIRST: stored("1.2", later)}
    assert next_use(look(OWN, others, later, measured("1.2", "1.3")), None) is None


def test_fallback_that_lives_on_a_fallback_is_not_used() -> None:
    later = QUIET + 1
    others = {FIRST: stored("1.0990", later, is_own=False)}
    assert next_use(look(OWN, others, later), None) is None


def test_fallback_is_not_used_while_the_market_is_closed_or_not_known_to_be_open() -> None:
    later = QUIET + 1
    closed = look(OWN, fresh(later), later, opened=None)
    assert next_use(closed, None) is None
    row = stored("1.1000", later - 1, is_own=False)
    suspended = look(row, fresh(later), later, opened=None)
    assert next_use(suspended, USE) == USE
    assert to_publish(suspended, USE) is None
    assert is_covered(suspended, USE), "a closed market is no alarm"


def test_distance_of_before_the_closing_begins_no_use() -> None:
    """Friday's last quote is 48 hours old on Sunday, and the fallback opens with a gap."""
    weekend = timedelta(hours=48).total_seconds()
    for after_opening in (0.1, QUIET - 1, QUIET + 1, 3600):
        seconds = weekend + after_opening
        others = fresh(seconds, first="1.0800", second="1.0800")
        found = look(OWN, others, seconds, opened=after(weekend))
        assert next_use(found, None) is None


def test_use_goes_on_some_time_after_the_opening() -> None:
    weekend = timedelta(hours=48).total_seconds()
    row = stored("1.1000", 40, is_own=False)
    for after_opening, goes_on in ((QUIET, False), (QUIET + 1, True)):
        seconds = weekend + after_opening
        found = look(row, fresh(seconds), seconds, opened=after(weekend))
        assert next_use(found, USE) == USE
        assert (to_publish(found, USE) is not None) is goes_on


def test_first_price_after_the_switch_is_the_last_before_it() -> None:
    quote = shifted(stored("1.0990", QUIET), USE)
    assert quote is not None
    assert (quote.bid, quote.ask) == (D("1.1000"), D("1.1002"))


@given(st.decimals("0.5", "2", places=5), st.decimals("-0.02", "0.02", places=5),
       st.decimals("-0.001", "0.001", places=5))  # fmt: skip
def test_price_moves_by_what_the_fallback_moves(own: D, apart: D, moved: D) -> None:
    """Whatever lies between the two sources: a switch itself moves no price."""
    other, distances = own + apart, dict[int, Distance]()
    for n in range(MIN_SAMPLES):
        at = after(n * APART.total_seconds())
        row = Stored(Quote(PAIR, own, own + D("0.0002"), at), at)
        others = {FIRST: Stored(Quote(PAIR, other, other + D("0.0005"), at), at)}
        distances = sampled(distances, row, others, None)
    offsets = distances[FIRST].known
    assert offsets is not None
    later = Stored(Quote(PAIR, other + moved, other + moved + D("0.0005"), NOW), NOW)
    quote = shifted(later, Use(FIRST, offsets, NOW))
    assert quote is not None
    assert (quote.bid, quote.ask) == (own + moved, own + moved + D("0.0002"))


def test_fall_just_before_the_silence_counts_once() -> None:
    """The fallback was quiet for 15 s when the source fell and died."""
    distances = measured("1.1000", "1.1000")
    row = stored("1.0950", 15)
    distances = sampled(distances, row, {FIRST: stored("1.1000")}, None)
    distances = sampled(distances, row, {FIRST: stored("1.0950", 16)}, None)
    others = {FIRST: stored("1.0950", 66)}
    found = look(row, others, 66, distances)
    use = next_use(found, None)
    assert use is not None
    quote = to_publish(found, use)
    assert quote is not None
    assert quote.bid == D("1.0950")


def test_bid_and_ask_meet_where_the_spread_is_smaller_than_it_was() -> None:
    use = Use(FIRST, (D("0.0010"), D("0.0000")), NOW)
    quote = shifted(stored("1.0990", ask="1.0992"), use)
    assert quote is not None
    assert quote.bid == quote.ask == D("1.0996")


def test_only_newer_quotes_of_the_fallback_are_published() -> None:
    row = stored("1.1000", 40, is_own=False)
    assert to_publish(look(row, {FIRST: stored("1.0991", 40)}, 41), USE) is None
    assert to_publish(look(row, {FIRST: stored("1.0991", 41)}, 41), USE) is not None
    assert to_publish(look(row, {FIRST: stored("1.0991", 41)}, 41), None) is None
    assert to_publish(look(row, {}, 41), USE) is None


def test_fallback_publishes_nothing_while_the_source_itself_quotes() -> None:
    row = stored("1.1000", 60)
    found = look(row, fresh(61), 61)
    use = next_use(found, USE)
    assert use is not None
    assert use.own_since == after(60)
    assert to_publish(found, use) is None
    silent_again = 61 + OWN_GAP.total_seconds()
    found = look(row, fresh(silent_again), silent_again)
    use = next_use(found, use)
    assert to_publish(found, use) is not None


def test_fallback_ends_after_the_source_has_quoted_for_a_while() -> None:
    use: Use | None = USE
    back = int(RETURN.total_seconds())
    for second in range(40, 40 + back + 1):
        assert use is not None, second
        use = next_use(look(stored("1.1", second), fresh(second), second), use)
    assert use is None


@pytest.mark.parametrize("gap", [OWN_GAP.total_seconds() + 1, 80])
def test_source_that_comes_and_goes_does_not_flap(gap: float) -> None:
    use: Use | None = USE
    second = 60.0
    for _ in range(20):
        row = stored("1.1", second)
        for seen in (second, second + gap - 0.1):
            use = next_use(look(row, fresh(seen), seen), use)
            assert use is not None
        second += gap


def test_own_quote_sets_the_distance_again() -> None:
    """It is the last one before the source is silent again."""
    row = stored("1.1003", 40)
    distances = sampled(KNOWN, row, fresh(40), USE)
    use: Use | None = USE
    for seconds in (40, 41 + OWN_GAP.total_seconds()):
        use = next_use(look(row, fresh(seconds), seconds, distances), use)
    assert use == Use(FIRST, (D("0.0013"), D("0.0013")), after(40))


def test_own_quote_far_from_the_fallback_ends_it() -> None:
    """Also if the fallback quotes a second later."""
    row = stored("1.1105", 40)
    use = next_use(look(row, fresh(30), 40), USE)
    assert use is not None
    distances = sampled(KNOWN, row, fresh(41), use)
    assert next_use(look(row, fresh(41), 41, distances), use) is None


def test_bad_last_tick_does_not_end_the_use_that_follows_it() -> None:
    row = stored("1.1105", 5)
    distances = sampled(KNOWN, row, fresh(5), None)
    later = 6 + QUIET
    found = look(row, fresh(later), later, distances)
    use = next_use(found, None)
    assert use == Use(FIRST, USE.offsets, after(5))
    assert next_use(found, use) == use


def test_distance_is_kept_while_the_fallback_is_what_is_stored() -> None:
    """Else what it moved between two looks would be lost."""
    row = stored("1.1000", 40, is_own=False)
    distances = sampled(KNOWN, row, fresh(41, first="1.0900"), USE)
    assert distances[FIRST] == KNOWN[FIRST]
    assert distances[SECOND].newest != KNOWN[SECOND].newest


def test_distance_to_another_fallback_is_learned_from_the_shifted_price() -> None:
    """It was added while the first one is used."""
    distances = {FIRST: KNOWN[FIRST]}
    for n in range(MIN_SAMPLES):
        at = 100 + n * APART.total_seconds()
        row = stored("1.1000", at, is_own=False)
        distances = sampled(distances, row, fresh(at), USE)
    assert distances[SECOND].known == (D("-0.0010"), D("-0.0010"))


def test_next_fallback_goes_on_from_the_price_of_the_first() -> None:
    row = stored("1.1000", 40, is_own=False)
    distances = sampled(KNOWN, row, fresh(40), USE)
    later = 41 + LOST.total_seconds()
    others = fresh(later) | {FIRST: stored("1.0990", 40)}
    use = next_use(look(row, others, later, distances), USE)
    assert use is not None
    assert (use.fallback_id, use.own_at) == (SECOND, USE.own_at)
    quote = shifted(others[SECOND], use)
    assert quote is not None
    assert quote.bid == D("1.1000")


def test_last_price_of_a_fallback_that_was_taken_away_goes_on() -> None:
    row = stored("1.1000", 40, is_own=False)
    later = 41 + QUIET
    use = next_use(look(row, fresh(later), later), None)
    assert use == Use(FIRST, USE.offsets, after(40))


def test_fallback_that_quotes_rarely_is_kept_and_not_chosen() -> None:
    seconds = CURRENT.total_seconds() + 15
    row = stored("1.1000", 0, is_own=False)
    others = {FIRST: stored("1.0990")}
    assert next_use(look(row, others, seconds), USE) == USE
    assert is_covered(look(row, others, seconds), USE)
    later = LOST.total_seconds() + 1
    assert next_use(look(OWN, others, later), None) is None


def test_use_goes_on_if_no_fallback_delivers() -> None:
    later = 41 + LOST.total_seconds()
    found = look(stored("1.1000", 40, is_own=False), {}, later)
    assert next_use(found, USE) == USE
    assert not is_covered(found, USE)


@pytest.mark.parametrize(
    ("opened", "seconds", "is_used"),
    [
        (OPENED, 0, True),
        (NOW + timedelta(hours=2), 3 * 3600, False),  # measured before the market opened
        (OPENED - timedelta(days=9), 25 * 3600, False),
    ],
)
def test_old_distance_is_not_known_any_more(
    opened: datetime, seconds: float, *, is_used: bool
) -> None:
    later = seconds + QUIET + 1
    found = next_use(look(stored("1.1", seconds), fresh(later), later, opened=opened), None)
    assert (found is not None) is is_used


def test_distance_since_a_return_is_known_after_it() -> None:
    """The source falls silent again just after its return."""
    began, ended = 100.0, 100 + RETURN.total_seconds()
    distances: dict[int, Distance] = dict(KNOWN)
    for second in range(int(began), int(ended) + 1):
        distances = sampled(distances, stored("1.2000", second), fresh(second), None)
    back = replace(USE, own_at=after(ended - 1), own_since=after(began))
    again = measured_again(distances, stored("1.2000", ended), back)
    assert again[FIRST].known == (D("0.1010"), D("0.1010"))
    contradicted = replace(USE, own_at=after(began), own_since=after(began))
    again = measured_again(distances, stored("1.2000", began + 5), contradicted)
    assert {one.at for one in again[FIRST].samples} <= {after(n) for n in range(105, 131)}


def test_what_a_fallback_has_left_measures_nothing() -> None:
    left = stored("1.1500", 10, is_own=False)
    assert sampled(KNOWN, left, fresh(10), None) == KNOWN
