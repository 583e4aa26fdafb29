"""Workers query for due orders as often as the setting states, without a restart."""

import pytest

from common.process.jobs import pace
from execution.job_table import jobs_of_role
from tests.operational import set_setting


@pytest.mark.parametrize(
    ("name", "role", "exits_only"),
    [("due exits", "exits", True), ("due entries", "execution", False)],
)
def test_due_orders_are_queried_every_poll_seconds(name: str, role: str, exits_only: bool) -> None:
    (due,) = (job for job in jobs_of_role(role, exits_only=exits_only) if job.name == name)
    for seconds in (1, 5):
        set_setting("execution.poll_seconds", seconds)
        assert pace(due) == seconds
