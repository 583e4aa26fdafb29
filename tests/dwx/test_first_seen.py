"""Since when an execution is known."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from brokers.dwx.first_seen import MAX_SEEN, FirstSeen, Sightings

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WAIT = timedelta(minutes=1)


@dataclass
class Execution:
    number: int
    at: datetime


def execution(number: int, seconds: float) -> Execution:
    """Return one that happened so long before noon, by the server's clock."""
    return Execution(number, (NOON - timedelta(seconds=seconds)).replace(tzinfo=None))


def utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)


def read(seen: FirstSeen, *found: Execution, after: float = 0, account: str = "1") -> Sightings:
    """Read the history so many seconds after noon."""
    return seen.note(account, found, utc, NOON + timedelta(seconds=after), WAIT)


def test_what_is_there_at_first_counts_by_its_own_time() -> None:
    one = execution(7, 59)
    assert read(FirstSeen(), one).known_since(one, utc) == utc(one.at)


@pytest.mark.parametrize("hours_ahead", [-1, 0, 1])
def test_what_arrives_counts_from_then_on_in_any_zone(hours_ahead: int) -> None:
    seen, one = FirstSeen(), execution(7, -3600 * hours_ahead)
    read(seen, execution(6, 9e4))
    for after in (1, 60):
        sightings = read(seen, one, after=after)
        assert sightings.known_since(one, utc) == NOON + timedelta(seconds=1)


def test_time_in_the_future_counts_from_the_first_read() -> None:
    seen, one = FirstSeen(), execution(7, -3600)
    for after in (0, 60):
        assert read(seen, one, after=after).known_since(one, utc) == NOON


def test_older_one_that_a_longer_history_has_is_not_new() -> None:
    seen, old = FirstSeen(), execution(5, 9e4)
    read(seen, execution(7, 100))
    assert read(seen, old, execution(7, 100)).known_since(old, utc) == utc(old.at)


@pytest.mark.parametrize("others", [[], [execution(4, 9e6)]])
def test_old_one_that_is_listed_late_is_not_new(others: list[Execution]) -> None:
    seen, old = FirstSeen(), execution(5, 9e5)
    read(seen, *others)
    assert read(seen, *others, old).known_since(old, utc) == utc(old.at)


def test_accounts_are_separate() -> None:
    seen, one = FirstSeen(), execution(7, 100)
    read(seen, execution(9, 100), account="2")
    assert read(seen, one).known_since(one, utc) == utc(one.at)
    late = execution(8, 100)
    assert read(seen, one, late).known_since(late, utc) == NOON


def test_only_the_latest_are_remembered() -> None:
    seen = FirstSeen()
    read(seen)
    found = [execution(number, 0) for number in range(1, MAX_SEEN + 3)]
    assert list(read(seen, *found).first_seen) == list(range(3, MAX_SEEN + 3))
