"""How far two sources lie apart, by the quotes of both that came together."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

from hypothesis import given
from hypothesis import strategies as st

from prices.distances import APART, KEPT_FOR, MIN_SAMPLES, TOGETHER, Sample, distance_of

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
WIDTH = D("0.0004")


def sample(seconds: float, apart: str, *, later: float = 0, width: D = WIDTH) -> Sample:
    at = NOON + timedelta(seconds=seconds)
    return Sample(at, at + timedelta(seconds=later), (D(apart), D(apart)), width)


def known(*samples: Sample) -> D | None:
    found = distance_of(samples).known
    return found[0] if found else None


def apart(number: int, each: float = APART.total_seconds()) -> list[Sample]:
    return [sample(each * n, "0.0010") for n in range(number)]


def test_distance_is_known_once_enough_quotes_came_together() -> None:
    assert known(*apart(MIN_SAMPLES - 1)) is None
    assert known(*apart(MIN_SAMPLES)) == D("0.0010")


def test_quotes_that_did_not_come_together_say_nothing() -> None:
    """Between them the market may have moved."""
    late = TOGETHER.total_seconds() + 0.1
    assert known(*apart(3), sample(30, "-0.0050", later=late)) == D("0.0010")
    assert known(*apart(3), sample(30, "-0.0050", later=-late)) == D("0.0010")


def test_newest_pair_counts_if_it_is_near_the_others() -> None:
    assert known(*apart(3), sample(12, "0.0013")) == D("0.0013")


def test_one_bad_last_tick_is_no_distance() -> None:
    assert known(*apart(5), sample(25, "-0.0050")) == D("0.0010")


def test_one_bad_tick_is_one_sample_however_many_quotes_it_meets() -> None:
    bad = [sample(15 + second / 4, "-0.0050") for second in range(16)]
    assert known(*apart(3), *bad) == D("0.0010")


def test_closer_pair_of_the_same_quote_replaces_the_other() -> None:
    assert known(*apart(2), sample(10, "0.0012", later=-2), sample(10, "0.0011", later=1)) == D(
        "0.0011"
    )
    assert known(*apart(2), sample(10, "0.0012", later=1), sample(10, "0.0011", later=2)) == D(
        "0.0012"
    )


def test_old_pairs_are_forgotten() -> None:
    later = KEPT_FOR.total_seconds() + 60
    assert known(*apart(5), sample(later, "0.0010")) is None


def test_nothing_is_left_of_before_a_time() -> None:
    found = distance_of(apart(6))
    assert found.since(NOON).known == (D("0.0010"), D("0.0010"))
    assert found.since(NOON + timedelta(seconds=25)).known is None
    assert found.since(NOON + timedelta(seconds=26)).newest is None


@given(st.lists(st.decimals("-0.01", "0.01", places=5), min_size=3, max_size=9))
def test_distance_was_seen_or_lies_between_two_that_were(found: list[D]) -> None:
    each = APART.total_seconds()
    it = known(*(sample(each * n, str(one)) for n, one in enumerate(found)))
    assert it is not None
    assert min(found) <= it <= max(found)
