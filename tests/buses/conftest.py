"""Fixtures: accounts at the fake broker, as tests of execution have them."""

from tests.execution.conftest import (  # noqa: F401 (fixtures)
    _alice,
    alice,
    broker,
    captured_enqueues,
    empty_deferred_queue,
    feed,
    runtime,
)
