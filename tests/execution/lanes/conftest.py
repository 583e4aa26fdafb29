"""An account in a lane; the lanes of this process are restored after each test."""

from collections.abc import Iterator

import pytest

from connections import session_lanes
from connections.models import ExecutionConnection
from tests.execution.lanes.processes import IN_A_LANE


@pytest.fixture(autouse=True)
def restore_process_lanes() -> Iterator[None]:
    before = session_lanes._held_lanes
    yield
    session_lanes._held_lanes = before
    session_lanes.mark_idle(())


@pytest.fixture
def laned(alice: ExecutionConnection) -> ExecutionConnection:
    """Alice's account needs a session."""
    ExecutionConnection.objects.filter(pk=alice.pk).update(lane=IN_A_LANE)
    alice.refresh_from_db()
    return alice
