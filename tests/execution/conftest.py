"""Fixtures: a feed, an instrument, an account at the fake broker, and a dispatcher."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from connections import session_lanes
from connections.models import ExecutionConnection
from execution import services, tasks
from execution.dispatch import deferred_reports
from execution.dispatch.background_calls import BackgroundCall, CallResult
from execution.dispatch.report_writer import record_call_results
from execution.recovery import order_polling
from execution.recovery.message_flow import flow_of
from execution.runtime import poll_wakes, trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.routed_world import routed_world  # noqa: F401 (a fixture)
from tests.kept_rows import kept_rows
from tests.operational import set_setting

factories.register()


# Folders whose tests compare many times with limits of seconds.
OF_SECONDS = {"submission", "recovery", "reports", "exits", "decision_step"}


@pytest.fixture(autouse=True)
def clock_of_seconds(request: pytest.FixtureRequest) -> None:
    """Stop the clock before anything is arranged; a machine that pauses makes nothing older."""
    if request.path.parent.name in OF_SECONDS and "inline_commits" in request.fixturenames:
        request.getfixturevalue("stopped_clock")


@pytest.fixture(autouse=True)
def captured_enqueues(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Send nothing to Celery; record what would have been enqueued."""
    enqueued: list[list[int]] = []
    monkeypatch.setattr(tasks, "enqueue", lambda ids, **_: enqueued.append(list(ids)))
    monkeypatch.setattr(tasks, "_enqueue_pending_actions", lambda: None)
    return enqueued


@pytest.fixture(autouse=True)
def empty_deferred_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """No report of another test waits in the process."""
    monkeypatch.setattr(deferred_reports, "deferred_queue", deferred_reports.DeferredReportQueue())


@pytest.fixture(autouse=True)
def unwatched_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """No message of another test counts as taken: polls would leave due entries to the queue."""
    monkeypatch.setattr(services, "_entry_messages", flow_of("execution"))


@pytest.fixture(autouse=True)
def patient_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round of polls ends with its last answer, not in the middle since the machine paused."""
    monkeypatch.setattr(order_polling, "WAIT_SECONDS", 60.0)


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    """The fake broker, emptied; the cached answer about its events is cleared."""
    factories.fake_broker().reset()
    order_polling.polled_broker_types.cache_clear()
    yield factories.fake_broker()
    factories.fake_broker().reset()
    order_polling.polled_broker_types.cache_clear()


def _feed() -> Feed:
    factories.instrument()
    return make.feed()


feed = kept_rows(_feed)
_alice = kept_rows(factories.account, on="feed")


@pytest.fixture
def alice(_alice: ExecutionConnection, broker: FakeBroker) -> ExecutionConnection:
    """Alice's account takes every signal at a fixed 100; the engine guards its stops."""
    return _alice


@pytest.fixture
def runtime(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> Iterator[trading_runtime.TradingRuntime]:
    """A runtime with a dispatcher and no report writer: the test applies reports by hand,
    and results of background calls are recorded before `start` returns."""
    current = trading_runtime.TradingRuntime("test")
    current.dispatcher.start()
    begin = current.dispatcher.background_calls.start

    def start(calls: Sequence[BackgroundCall]) -> None:
        begin(calls)
        assert current.dispatcher.background_calls.wait_idle(30)
        results = [
            current.dispatcher.results.get_nowait()
            for _ in range(current.dispatcher.results.qsize())
        ]
        for result in results:
            if not isinstance(result, CallResult):
                current.dispatcher.results.put(result)
        record_call_results([result for result in results if isinstance(result, CallResult)])

    monkeypatch.setattr(current.dispatcher.background_calls, "start", start)
    before, trading_runtime._runtime = trading_runtime._runtime, current
    yield current
    current.drain()
    assert current.jobs.wait_ended(120)
    trading_runtime._runtime = before
    current.dispatcher.loop.call_soon_threadsafe(current.dispatcher.loop.stop)
    current.dispatcher.join(120)
    current.dispatcher.loop.close()


@pytest.fixture
def trading(transactional_db: None, broker: FakeBroker) -> Iterator[trading_runtime.TradingRuntime]:
    """A whole runtime as in a worker, without its own polls for work."""
    current = trading_runtime.TradingRuntime("test")
    current.start()
    before, trading_runtime._runtime = trading_runtime._runtime, current
    yield current
    trading_runtime._runtime = before
    current.stop()


@pytest.fixture
def position(
    alice: ExecutionConnection,
    feed: Feed,
    runtime: trading_runtime.TradingRuntime,
    broker: FakeBroker,
) -> ExecutionPosition:
    """100 EUR/USD, ours and the broker's, which cannot say what was executed."""
    broker.fills_horizon = None
    found = factories.filled(factories.signal(feed))
    factories.pass_time(1)
    return found


@pytest.fixture
def session(transactional_db: None, broker: FakeBroker) -> Iterator[trading_runtime.TradingRuntime]:
    """A runtime as in a session worker; the test calls its jobs by hand."""
    current = trading_runtime.TradingRuntime("sessions")
    current.start()
    before, trading_runtime._runtime = trading_runtime._runtime, current
    yield current
    trading_runtime._runtime = before
    current.stop()
    session_lanes._held_lanes = session_lanes._general
    session_lanes.mark_idle(())


@pytest.fixture
def polled_broker(
    broker: FakeBroker, runtime: trading_runtime.TradingRuntime, settings: Any
) -> Iterator[FakeBroker]:
    """The fake broker without an event stream, each of whose accounts is polled every hour."""
    broker.event_stream = False
    set_setting("fill_tracking.update_interval_seconds", 3600)
    order_polling.polled_broker_types.cache_clear()
    poll_wakes.polls.take()
    yield broker
    broker.hang.end()
    order_polling.polled_broker_types.cache_clear()
