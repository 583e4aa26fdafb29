"""A feed, an instrument, an account at the double, and a wire to it."""

from collections.abc import Iterator, Sequence

import pytest

from connections import session_lanes as of_process
from connections.models import ExecutionConnection
from execution import tasks
from execution.dispatch import deferred_reports
from execution.dispatch.background_calls import BackgroundCall, CallResult
from execution.dispatch.report_writer import record_call_results
from execution.recovery import order_polling
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

factories.register()


@pytest.fixture(autouse=True)
def captured_enqueues(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Nothing is sent to Celery; what would have been rung is kept."""
    rung: list[list[int]] = []
    monkeypatch.setattr(tasks, "enqueue", lambda ids, queue="", lanes=None: rung.append(list(ids)))
    monkeypatch.setattr(tasks, "_enqueue_pending_actions", lambda: None)
    return rung


@pytest.fixture(autouse=True)
def empty_deferred_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """No report of another test waits in the process."""
    monkeypatch.setattr(deferred_reports, "deferred_queue", deferred_reports.DeferredReportQueue())


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    """The double, empty; whether it tells things by itself is asked anew."""
    factories.fake_broker().reset()
    order_polling.polled_broker_types.cache_clear()
    yield factories.fake_broker()
    factories.fake_broker().reset()
    order_polling.polled_broker_types.cache_clear()


@pytest.fixture
def feed(db: None) -> Feed:
    factories.instrument()
    return make.feed()


@pytest.fixture
def alice(feed: Feed, broker: FakeBroker) -> ExecutionConnection:
    """Her account takes every signal of the feed at a fixed 100, stops watched by us."""
    return factories.account(feed)


@pytest.fixture
def runtime(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> Iterator[trading_runtime.TradingRuntime]:
    """A runtime whose wire runs and whose flusher does not: what comes back is applied by hand,
    and what background calls bring before `start` returns."""
    present = trading_runtime.TradingRuntime("test")
    present.dispatcher.start()
    begin = present.dispatcher.background_calls.start

    def start(errands: Sequence[BackgroundCall]) -> None:
        begin(errands)
        assert present.dispatcher.background_calls.wait_idle(30)
        told = [
            present.dispatcher.outbox.get_nowait() for _ in range(present.dispatcher.outbox.qsize())
        ]
        for one in told:
            if not isinstance(one, CallResult):
                present.dispatcher.outbox.put(one)
        record_call_results([one for one in told if isinstance(one, CallResult)])

    monkeypatch.setattr(present.dispatcher.background_calls, "start", start)
    before, trading_runtime._runtime = trading_runtime._runtime, present
    yield present
    trading_runtime._runtime = before
    present.dispatcher.loop.call_soon_threadsafe(present.dispatcher.loop.stop)
    present.dispatcher.join(30)
    present.dispatcher.loop.close()


@pytest.fixture
def trading(transactional_db: None, broker: FakeBroker) -> Iterator[trading_runtime.TradingRuntime]:
    """A whole runtime as in a worker, without its own looks for work."""
    present = trading_runtime.TradingRuntime("test")
    present.start()
    before, trading_runtime._runtime = trading_runtime._runtime, present
    yield present
    trading_runtime._runtime = before
    present.stop()


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
    """A runtime as in a session worker, whose rounds are called by hand."""
    present = trading_runtime.TradingRuntime("sessions")
    present.start()
    before, trading_runtime._runtime = trading_runtime._runtime, present
    yield present
    trading_runtime._runtime = before
    present.stop()
    of_process._held_lanes = of_process._general
    of_process.mark_idle(())
