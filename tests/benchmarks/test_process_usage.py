"""What the benchmarks count of processes."""

import pytest

from benchmarks import process_usage
from common.sql import rows
from tests.common.test_shared_sessions import raw

pytestmark = pytest.mark.django_db(transaction=True)
IN_DATABASE = "SELECT count(*) AS n FROM pg_stat_activity WHERE backend_type = 'client backend'"


def test_sessions_are_counted_and_the_servers_own_processes_are_not() -> None:
    with raw(), raw():
        backend = rows("SELECT pg_backend_pid() AS pid")[0].pid
        children = process_usage.children_of(process_usage.parent_of(backend))
        count = process_usage.database_sessions(children)
        assert count == rows(IN_DATABASE)[0].n
        assert 3 <= count < len(children)
