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

POLLS, GUARDS = 0.15, 0.2  # seconds; quicker ones would keep a core busy
SETTINGS = ("execution.poll_seconds", "fill_tracking.update_interval_seconds")
PERIODS = {
    (startup, "GUARD_SECONDS"): GUARDS,
    (startup, "DUST_SECONDS"): GUARDS,
    (startup, "LANES_SECONDS"): GUARDS,
    (order_polling, "MIN_SECONDS"): POLLS,
    (feed_runner, "MAINTAIN_EVERY"): GUARDS,
    (broker_feeds, "RETRY_SECONDS"): GUARDS,
    (broker_sessions, "RETRY_SECONDS"): GUARDS,
}


@contextmanager
def brisk_periods() -> Iterator[None]:
    """Let the jobs of engines that start in this block run a few times a second. An
    engine without work still sleeps, and back-offs and time-outs of brokers stay as they are."""
    for path in SETTINGS:
        set_setting(path, POLLS)
    with pytest.MonkeyPatch.context() as patch:  # a test may undo its own patches in the middle
        for (module, name), seconds in PERIODS.items():
            patch.setattr(module, name, seconds)
        patch.setattr(sweeps, "ENQUEUED_GRACE_SECONDS", 0)  # no worker gets messages here
        yield


@pytest.fixture
def brisk_jobs() -> Iterator[None]:
    """Let the engines of a test be brisk."""
    with brisk_periods():
        yield
