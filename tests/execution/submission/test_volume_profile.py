"""The volume profile of a VWAP: whose days count, what each slice gets. Pure."""

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.submission.slicing import plan_slices
from execution.submission.volume_profile import LEAST_SHARE, Day, VolumeProfile, profile_of

ONE_DAY: Day = {minute: 30 if minute < 10 else 10 for minute in range(20)}
OTHER_DAY: Day = dict.fromkeys(range(20), 300)


def usual(*days: Day, second: int = 0, duration: int = 1200) -> VolumeProfile | None:
    return profile_of(days, second=D(second), duration=duration)


def weights(*days: Day, slices: int = 2, second: int = 0, duration: int = 1200) -> list[D]:
    profile = usual(*days, second=second, duration=duration)
    assert profile is not None
    return profile.weights(duration, slices)


def test_each_day_counts_the_same() -> None:
    """75 % and 50 % of the volume were in the first half: 62.5 % on average."""
    assert weights(ONE_DAY, OTHER_DAY) == [D("1.25"), D("0.75")]
    profile = usual(ONE_DAY, OTHER_DAY)
    plan = plan_slices(quantity=D(100), step=D(10), minimum=D(10), duration=1200, slices=2,
                       variation=D(0), seed=1, volume=profile)  # fmt: skip
    assert [(part.at, part.quantity) for part in plan] == [(0, D(60)), (600, D(40))]


@pytest.mark.parametrize(
    ("days", "known"),
    [
        ([], 0), ([ONE_DAY], 0), ([ONE_DAY, OTHER_DAY], 2), ([ONE_DAY, OTHER_DAY, {}], 2),
        ([ONE_DAY, dict.fromkeys(range(10), 1)], 2),  # half of its minutes
        ([ONE_DAY, dict.fromkeys(range(9), 1)], 0),
    ],
)  # fmt: skip
def test_days_with_half_of_their_minutes_count(days: list[Day], known: int) -> None:
    profile = usual(*days)
    assert (len(profile.days) if profile else 0) == known


def test_slices_within_a_minute_share_its_volume() -> None:
    """From second 30 on: 10 of the first minute, 40 of the second."""
    day = {0: 20, 1: 40}
    assert weights(day, day, second=30, duration=90, slices=3) == [D("0.6"), D("1.2"), D("1.2")]


def test_quotes_outside_of_the_entry_do_not_count() -> None:
    day = {0: 1000, 1: 5}
    assert usual(day, day, second=59, duration=61) is not None
    assert usual({0: 1000}, {0: 1000}, second=60, duration=60) is None


def test_slice_without_volume_gets_a_little() -> None:
    day = dict.fromkeys(range(10), 5)
    assert weights(day, day) == [D(2), LEAST_SHARE]


COUNTS = st.dictionaries(st.integers(0, 40), st.integers(1, 10**6), min_size=20)


@given(
    days=st.lists(COUNTS, min_size=2, max_size=7),
    second=st.integers(0, 59),
    slices=st.integers(2, 100),
    steps=st.integers(1, 10**5),
    minimum=st.integers(0, 50),
    variation=st.integers(0, 50),
)
def test_plan_adds_up_with_any_profile(
    days: list[Day], second: int, slices: int, steps: int, minimum: int, variation: int
) -> None:
    duration, step = 2400, D(10)
    profile = usual(*days, second=second, duration=duration)
    quantity = step * max(steps, minimum, 1)
    plan = plan_slices(quantity=quantity, step=step, minimum=step * minimum, duration=duration,
                       slices=slices, variation=D(variation), seed=7, volume=profile)  # fmt: skip
    assert sum(part.quantity for part in plan) == quantity
    assert all(part.quantity >= max(step * minimum, step) for part in plan)
    assert all(part.quantity % step == 0 for part in plan)
