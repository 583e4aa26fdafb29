"""What all tests of the engine on crypto accounts share."""

import pytest

from tests.execution.brisk_jobs import brisk_jobs

__all__ = ["brisk_jobs"]


@pytest.fixture(autouse=True)
def engine_is_brisk(brisk_jobs: None) -> None:
    """No period of a job is the point of these tests."""
