"""Of two runs of a job the second one waits before it reads: else it would write older figures."""

import threading
from collections.abc import Callable
from datetime import date

import pytest
from django.db import connection, transaction

from analytics.quality import signals as signal_quality
from analytics.records.computation import compute_feed
from analytics.results.costs import compute_costs
from analytics.services import compute_day
from common.db.sql import rows
from tests.changes.concurrent_forms import SECONDS, wait_until_they_wait
from tests.connections import make

pytestmark = pytest.mark.django_db(transaction=True)
WAITS_FOR = "SELECT DISTINCT locktype::text AS of FROM pg_locks WHERE NOT granted"


def costs() -> Callable[[], object]:
    return compute_costs


def day() -> Callable[[], object]:
    return lambda: compute_day(date(2026, 3, 11))


def record_of_a_feed() -> Callable[[], object]:
    feed = make.feed()
    return lambda: compute_feed(feed)


def medians_of_signals() -> Callable[[], object]:
    return lambda: signal_quality._compute([0])


def waits_for(first: Callable[[], object], second: Callable[[], object]) -> list[str]:
    """Return what the second act waits for while the first one has not committed."""

    def run() -> None:
        try:
            second()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    with transaction.atomic():
        first()
        thread.start()
        wait_until_they_wait([thread])
        found = [row.of for row in rows(WAITS_FOR)]
    thread.join(SECONDS)
    assert not thread.is_alive(), "the second act hangs"
    return found


@pytest.mark.parametrize("make_job", [costs, day, record_of_a_feed, medians_of_signals])
def test_second_run_of_a_job_waits_for_the_first(
    make_job: Callable[[], Callable[[], object]], limits: Callable[..., None]
) -> None:
    limits(lock_timeout=60_000)
    job = make_job()
    assert waits_for(job, job) == ["advisory"]


def test_two_days_are_computed_at_the_same_time() -> None:
    other = date(2026, 3, 12)
    assert waits_for(lambda: compute_day(date(2026, 3, 11)), lambda: compute_day(other)) == []
