"""A feed, an instrument, an account at the double, and a wire to it."""

from collections.abc import Iterator, Sequence

import pytest

from connections import lanes as of_process
from connections.models import ExecutionConnection
from execution import tasks
from execution.calls import held, polling, runtime
from execution.calls.errands import Done, Errand
from execution.calls.flusher import write_down
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.connections import make
from tests.execution import cast
from tests.execution.double import Double

cast.register()


@pytest.fixture(autouse=True)
def no_bell(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Nothing is sent to Celery; what would have been rung is kept."""
    rung: list[list[int]] = []
    monkeypatch.setattr(tasks, "ring", lambda ids, queue="", lanes=None: rung.append(list(ids)))
    monkeypatch.setattr(tasks, "_ring_wishes", lambda: None)
    return rung


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """No report of another test waits in the process."""
    monkeypatch.setattr(held, "waiting", held.Waiting())


@pytest.fixture
def broker() -> Iterator[Double]:
    """The double, empty; whether it tells things by itself is asked anew."""
    cast.double().reset()
    polling.kinds_without_events.cache_clear()
    yield cast.double()
    cast.double().reset()
    polling.kinds_without_events.cache_clear()


@pytest.fixture
def feed(db: None) -> Feed:
    cast.instrument()
    return make.feed()


@pytest.fixture
def alice(feed: Feed, broker: Double) -> ExecutionConnection:
    """Her account takes every signal of the feed at a fixed 100, stops watched by us."""
    return cast.account(feed)


@pytest.fixture
def wire(broker: Double, monkeypatch: pytest.MonkeyPatch) -> Iterator[runtime.Runtime]:
    """A runtime whose wire runs and whose flusher does not: what comes back is applied by hand,
    and what errands bring before `start` returns."""
    present = runtime.Runtime("test")
    present.wire.start()
    begin = present.wire.errands.start

    def start(errands: Sequence[Errand]) -> None:
        begin(errands)
        assert present.wire.errands.wait_idle(30)
        told = [present.wire.outbox.get_nowait() for _ in range(present.wire.outbox.qsize())]
        for one in told:
            if not isinstance(one, Done):
                present.wire.outbox.put(one)
        write_down([one for one in told if isinstance(one, Done)])

    monkeypatch.setattr(present.wire.errands, "start", start)
    before, runtime._present = runtime._present, present
    yield present
    runtime._present = before
    present.wire.loop.call_soon_threadsafe(present.wire.loop.stop)
    present.wire.join(30)
    present.wire.loop.close()


@pytest.fixture
def trading(transactional_db: None, broker: Double) -> Iterator[runtime.Runtime]:
    """A whole runtime as in a worker, without its own looks for work."""
    present = runtime.Runtime("test")
    present.start()
    before, runtime._present = runtime._present, present
    yield present
    runtime._present = before
    present.stop()


@pytest.fixture
def position(
    alice: ExecutionConnection, feed: Feed, wire: runtime.Runtime, broker: Double
) -> ExecutionPosition:
    """100 EUR/USD, ours and the broker's, which cannot say what was executed."""
    broker.fills_horizon = None
    found = cast.filled(cast.signal(feed))
    cast.pass_time(1)
    return found


@pytest.fixture
def session(transactional_db: None, broker: Double) -> Iterator[runtime.Runtime]:
    """A runtime as in a session worker, whose rounds are called by hand."""
    present = runtime.Runtime("sessions")
    present.start()
    before, runtime._present = runtime._present, present
    yield present
    runtime._present = before
    present.stop()
    of_process._held = of_process._general
    of_process.let_rest(())
