"""Two requests, or two workers, act on one preflight at the same time."""

from collections.abc import Callable
from decimal import Decimal as D

import pytest

from analytics.models import Preflight
from analytics.preflight import jobs
from analytics.preflight.services import UNDER_WAY_AT_MOST, request_preflight
from tests.changes.races import Race, require_one_winner
from tests.connections import make

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def patience(limits: Callable[..., None]) -> None:
    """A session waits for as long as the test."""
    limits(lock_timeout=60_000)


def _asking(*, multipliers: tuple[str, str]) -> tuple[Callable[[], object], Callable[[], object]]:
    owner, feed = make.user(), make.feed()
    row = make.connection(owner)

    def ask(multiplier: str) -> Callable[[], object]:
        return lambda: request_preflight(
            connection_id=row.pk, feed_id=feed.pk, by=owner, multiplier=D(multiplier)
        )

    return ask(multipliers[0]), ask(multipliers[1])


def two_clicks() -> Race:
    first, second = _asking(multipliers=("1", "1"))
    return Race(first, second, ("done", "done"), Preflight.objects.count, 1)


def two_requests_that_differ() -> Race:
    first, second = _asking(multipliers=("1", "2"))

    def left() -> bool:
        return Preflight.objects.filter(multiplier=1).exists()

    return Race(first, second, ("done", "PREFLIGHT_RUNNING"), left, True)


def last_one_of_an_owner() -> Race:
    owner = make.user()
    row = make.connection(owner)
    feeds = [make.feed() for _ in range(UNDER_WAY_AT_MOST + 1)]

    def ask(number: int) -> object:
        return request_preflight(connection_id=row.pk, feed_id=feeds[number].pk, by=owner)

    for number in range(UNDER_WAY_AT_MOST - 1):
        ask(number)
    return Race(
        lambda: ask(UNDER_WAY_AT_MOST - 1), lambda: ask(UNDER_WAY_AT_MOST),
        ("done", "TOO_MANY_PREFLIGHTS"), Preflight.objects.count, UNDER_WAY_AT_MOST,
    )  # fmt: skip


def two_workers() -> Race:
    first, _ = _asking(multipliers=("1", "1"))
    first()

    def claim() -> bool:
        return jobs._claim() is not None

    def left() -> int:
        return Preflight.objects.get().tries

    return Race(claim, claim, ("True", "False"), left, 1)


RACES: dict[str, Callable[[], Race]] = {
    made.__name__: made
    for made in (two_clicks, two_requests_that_differ, last_one_of_an_owner, two_workers)
}


@pytest.mark.parametrize("name", RACES)
def test_preflight_has_one_winner(name: str) -> None:
    require_one_winner(RACES[name]())
