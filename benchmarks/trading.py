"""What benchmarks of trading do alike: publish as the web process does, wait, check what exists."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.process_usage import Meter
from brokers.types import Quote
from common.clocks import market_now
from common.db.sql import run
from prices.recorded_streams import stream_for
from prices.services import store_quotes
from signals.models import Signal
from signals.services import publish
from users.tenancy import on_behalf_of

WAIT_SECONDS, FEWEST_A_SECOND = 180, 300
PLANNING, PLANNING_TRIES = 100, 10  # accounts of each signal of `plan_statements`
SIGNALS = 10  # of sustained trading, published one after the other

COUNTS = """
SELECT (SELECT count(*) FROM execution_order WHERE signal_id = %(signal)s AND status = 'FILLED'),
  (SELECT count(*) FROM execution_fill f JOIN execution_order o ON o.id = f.order_id
    WHERE o.signal_id = %(signal)s),
  (SELECT count(*) FROM positions_executionposition WHERE signal_id = %(signal)s)
"""
AT_PAPER = """
SELECT count(*) FROM paper_order p JOIN execution_order o USING (client_order_id)
WHERE o.signal_id = %s AND p.status = 'FILLED'
"""
WORKERS = "SELECT DISTINCT worker_id FROM execution_order WHERE signal_id = ANY(%s)"
ROUTED = "UPDATE events_event SET routed_at = clock_timestamp() WHERE routed_at IS NULL"
UNFILLED = """
SELECT o.status, o.reason, o.detail, h.status, h.last_error FROM execution_order o
LEFT JOIN connections_connectionhealth h USING (connection_id)
WHERE o.signal_id = %s AND o.status <> 'FILLED' ORDER BY o.id LIMIT 5
"""
LATENCIES = """
SELECT extract(epoch FROM filled_at - %s)::float8 * 1000 FROM execution_order
WHERE signal_id = %s ORDER BY filled_at
"""

AtBroker = Callable[[], Sequence[int]]  # counts what another broker than the paper broker has


class Run(NamedTuple):
    """One fan-out. seconds: from publish to the last commit, as seen from outside."""

    seconds: float
    latencies_ms: list[float]  # from publish to the fill of each order
    signal: Signal


@contextlib.contextmanager
def as_web() -> Iterator[None]:
    run("SET ROLE fillcast_web")
    try:
        yield
    finally:
        run("RESET ROLE")


def publish_as_web(signal: Signal, data: BenchData) -> None:
    with as_web(), on_behalf_of(data.operator):
        publish(signal.pk, by=data.operator)


def store_current_quotes(data: BenchData) -> list[Quote]:
    """Store the source's quotes while no process does, and return them. They last for a minute."""
    stream = stream_for(data.source, None)
    assert stream is not None
    quotes = stream.due(market_now())
    store_quotes(data.source.pk, quotes)
    return quotes


def fan_out(
    data: BenchData, count: int, meter: Meter | None = None, at_broker: AtBroker | None = None
) -> Run:
    """Publish a signal to `count` subscribers and wait until all of it is durable.

    meter: counts what that costs, without what the benchmark itself reads afterwards.
    """
    signal = data.signal(data.feed(count))
    with meter.over(count) if meter else contextlib.nullcontext():
        began, start = datetime.now(UTC), time.perf_counter()
        publish_as_web(signal, data)
        limit = max(WAIT_SECONDS, count / FEWEST_A_SECOND)
        data.environment.wait(data.environment.nothing_open, seconds=limit)
        seconds = time.perf_counter() - start
    check(data.environment, signal, count, at_broker)
    latencies = [ms for (ms,) in data.environment.sql(LATENCIES, began, signal.pk)]
    return Run(seconds, latencies, signal)


def sustain(data: BenchData, count: int, meter: Meter) -> float:
    """Return the seconds from the first publish to the end of the last of `count` orders."""
    subscribers = accounts_of(count)
    signals = [data.signal(data.feed(subscribers)) for _ in range(SIGNALS)]
    with meter.over(count):
        start = time.perf_counter()
        for signal in signals:
            publish_as_web(signal, data)
        data.environment.wait(data.environment.nothing_open, every=0.02)
        seconds = time.perf_counter() - start
    for signal in signals:
        check(data.environment, signal, subscribers)
    return seconds


def accounts_of(count: int) -> int:
    return max(count // SIGNALS, 1)


@contextlib.contextmanager
def trade_history(data: BenchData, count: int) -> Iterator[None]:
    """Within: the tables hold `count` trades that have been opened and closed, and `reset` keeps
    them."""
    data.environment.reset()
    first = data.signal(data.feed(count))
    for signal in (first, data.close(first)):
        publish_as_web(signal, data)
        data.environment.wait(data.environment.nothing_open)
    with data.environment.history():
        data.environment.reset()
        yield


def plan_statements(data: BenchData, count: int) -> None:
    """Let each worker for entries plan its statements: TRUNCATE and ANALYZE threw all plans away.

    An installation plans them again after each vacuum of a busy table, once in 20,000 orders or so.
    count: the most accounts to use. Raises BenchError if a worker got none.
    """
    accounts, workers = min(count, PLANNING), set[str]()
    for _ in range(PLANNING_TRIES):
        signals = [data.signal(data.feed(accounts)) for _ in range(2 * data.environment.workers)]
        for signal in signals:  # faster than they are executed, so each worker should get some
            publish_as_web(signal, data)
        data.environment.wait(data.environment.nothing_open)
        for signal in signals:
            check(data.environment, signal, accounts)
        found = data.environment.sql(WORKERS, [signal.pk for signal in signals])
        workers |= {worker_id for (worker_id,) in found}
        if len(workers) >= data.environment.workers:
            data.environment.sql(ROUTED)
            return
    raise BenchError(f"{len(workers)} of {data.environment.workers} workers have planned")


def check(
    environment: BenchEnvironment, signal: Signal, count: int, at_broker: AtBroker | None = None
) -> None:
    """Check that each order, fill, position and row of the broker's books exists once.

    Raises BenchError.
    """
    (counts,) = environment.sql(COUNTS, {"signal": signal.pk})
    found = (*counts, *(at_broker() if at_broker else environment.sql(AT_PAPER, signal.pk)[0]))
    if set(found) != {count}:
        message = f"{count} orders, but orders, fills, positions, broker's: {found}"
        raise BenchError(f"{message}; unfilled: {environment.sql(UNFILLED, signal.pk)}")
