"""A trading process whose jobs follow one another quickly: for tests that wait for what a job does,
not for its period."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from execution import startup
from execution.recovery import order_polling, sweeps
from execution.runtime import broker_sessions
from prices import broker_feeds, feed_runner
from tests.operational import set_setting

PERIOD = 0.1
SETTINGS = ("execution.poll_seconds", "fill_tracking.update_interval_seconds")
PERIODS = [
    (startup, "GUARD_SECONDS"), (startup, "DUST_SECONDS"), (startup, "LANES_SECONDS"),
    (order_polling, "MIN_SECONDS"), (feed_runner, "MAINTAIN_EVERY"),
    (broker_feeds, "RETRY_SECONDS"), (broker_sessions, "RETRY_SECONDS"),
]  # fmt: skip


@contextmanager
def brisk_periods() -> Iterator[None]:
    """Let the jobs of engines that start in this block run each tenth of a second. An engine
    without work still sleeps, and back-offs and time-outs of brokers stay as they are."""
    for path in SETTINGS:
        set_setting(path, PERIOD)
    with pytest.MonkeyPatch.context() as patch:  # a test may undo its own patches in the middle
        for module, name in PERIODS:
            patch.setattr(module, name, PERIOD)
        patch.setattr(sweeps, "ENQUEUED_GRACE_SECONDS", 0)  # no worker gets messages here
        yield


@pytest.fixture
def brisk_jobs() -> Iterator[None]:
    """Let the engines of a test be brisk."""
    with brisk_periods():
        yield
