"""Two processes find the same restore, or a person releases an epoch as another one opens."""

from collections.abc import Callable

import pytest
from django.utils import timezone

from connections.models import Epoch, KillSwitch
from events.models import Event, EventKind
from execution.disaster_recovery.epochs import current_epoch, open_epoch, release_epoch
from tests.changes.races import Race, require_one_winner

pytestmark = pytest.mark.django_db(transaction=True)
CONFLICT, OPEN = "STATE_CONFLICT", "EPOCH_OPEN"


@pytest.fixture(autouse=True)
def surroundings(limits: Callable[..., None]) -> None:
    """A session waits for as long as the test."""
    limits(lock_timeout=60_000)


def opened(*, expected: int | None = None) -> int:
    return open_epoch(Epoch.Cause.COMMAND, expected_epoch=expected).number


def ready_to_be_released() -> None:
    """An epoch without open issues."""
    opened()
    past = timezone.now()
    Epoch.objects.filter(released_at=None).update(answer_by=past, books_read_at=past)


def numbers() -> tuple[list[int], list[int]]:
    """Return the epochs, and those that are open."""
    of = Epoch.objects.order_by("number").values_list("number", flat=True)
    return list(of), list(of.filter(released_at=None))


def stored() -> tuple[tuple[list[int], list[int]], int, int]:
    """Return the epochs, how many halts apply, and how many events halts have caused."""
    halts = KillSwitch.objects.filter(released_at=None).count()
    return numbers(), halts, Event.objects.filter(kind=EventKind.KILL_SWITCH).count()


def first_epoch_of_two_processes() -> Race:
    def number() -> int:
        return current_epoch().number

    return Race(number, number, ("1", "1"), stored, (([1], []), 0, 0))


def one_restore_that_two_processes_find() -> Race:
    current_epoch()

    def find() -> int:
        return opened(expected=1)

    return Race(find, find, ("2", "2"), stored, (([1, 2], [2]), 1, 1))


def two_restores() -> Race:
    """The second one was found after the first one: it is another."""
    current_epoch()
    return Race(opened, opened, ("2", "3"), stored, (([1, 2, 3], [3]), 1, 1))


def release_of_an_epoch_that_a_new_restore_supersedes() -> Race:
    """The halt is the new epoch's now, of which nothing is known yet."""
    ready_to_be_released()
    return Race(
        opened, lambda: release_epoch(by=None), ("3", OPEN), stored, (([1, 2, 3], [3]), 1, 1)
    )


def two_releases() -> Race:
    ready_to_be_released()

    def release() -> None:
        release_epoch(by=None)

    return Race(release, release, ("done", CONFLICT), stored, (([1, 2], []), 0, 2))


@pytest.mark.parametrize(
    "make_race",
    [
        first_epoch_of_two_processes, one_restore_that_two_processes_find, two_restores,
        release_of_an_epoch_that_a_new_restore_supersedes, two_releases,
    ],
)  # fmt: skip
def test_one_epoch_follows_another_and_has_one_halt(make_race: Callable[[], Race]) -> None:
    require_one_winner(make_race())


def test_restore_that_another_process_has_found_opens_nothing() -> None:
    current_epoch()
    assert [opened(expected=1), opened(expected=1), opened(expected=2)] == [2, 2, 3]
    assert numbers() == ([1, 2, 3], [3])
