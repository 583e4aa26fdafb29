"""What benchmarks of trading do alike: publish as the web process does, wait, check what exists."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.process_usage import Metered
from common.db.sql import run
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
SELECT o.status, o.reason, o.detail, c.name, h.status, h.last_error
FROM execution_order o JOIN connections_executionconnection c ON c.id = o.connection_id
LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id
WHERE o.signal_id = %s AND o.status <> 'FILLED' ORDER BY o.id LIMIT 5
"""
LATENCIES = """
SELECT extract(epoch FROM filled_at - %s)::float8 * 1000 FROM execution_order
WHERE signal_id = %s ORDER BY filled_at
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One fan-out. seconds: from publish to the last commit, as seen from outside."""

    seconds: float
    latencies_ms: list[float]  # from publish to the fill of each order
    signal: Signal


@contextlib.contextmanager
def as_web() -> Iterator[None]:
    """Use the database role of the web process meanwhile."""
    run("SET ROLE fillcast_web")
    try:
        yield
    finally:
        run("RESET ROLE")


def publish_as_web(signal: Signal, data: BenchData) -> None:
    """Publish as the web process does, under row-level security."""
    with as_web(), on_behalf_of(data.operator):
        publish(signal.pk, by=data.operator)


def fan_out(
    environment: BenchEnvironment, data: BenchData, count: int, meter: Metered | None = None,
    at_broker: Callable[[], Sequence[int]] | None = None,
) -> Run:  # fmt: skip
    """Publish a signal to `count` subscribers and wait until all of it is durable.

    meter: counts what that costs, without what the benchmark itself reads afterwards. at_broker: as
    for `check`.
    """
    signal = data.signal(data.feed(count))
    with meter.over(count) if meter else contextlib.nullcontext():
        began, start = datetime.now(UTC), time.perf_counter()
        publish_as_web(signal, data)
        limit = max(WAIT_SECONDS, count / FEWEST_A_SECOND)
        environment.wait(environment.nothing_open, seconds=limit)
        seconds = time.perf_counter() - start
    check(environment, signal, count, at_broker)
    latencies = [ms for (ms,) in environment.sql(LATENCIES, began, signal.pk)]
    return Run(seconds, latencies, signal)


def sustain(environment: BenchEnvironment, data: BenchData, count: int, meter: Metered) -> float:
    """Return the seconds from the first publish to the end of the last of `count` orders."""
    subscribers = accounts_of(count)
    signals = [data.signal(data.feed(subscribers)) for _ in range(SIGNALS)]
    with meter.over(count):
        start = time.perf_counter()
        for signal in signals:
            publish_as_web(signal, data)
        environment.wait(environment.nothing_open, every=0.02)
        seconds = time.perf_counter() - start
    for signal in signals:
        check(environment, signal, subscribers)
    return seconds


def accounts_of(count: int) -> int:
    """Return how many accounts each of the signals has for `count` orders of sustained trading."""
    return max(count // SIGNALS, 1)


@contextlib.contextmanager
def trade_history(environment: BenchEnvironment, data: BenchData, count: int) -> Iterator[None]:
    """Within: the tables hold `count` trades that have been opened and closed, and `reset` keeps
    them."""
    environment.reset()
    first = data.signal(data.feed(count))
    for signal in (first, data.close(first)):
        publish_as_web(signal, data)
        environment.wait(environment.nothing_open)
    with environment.history():
        environment.reset()
        yield


def plan_statements(environment: BenchEnvironment, data: BenchData, count: int) -> None:
    """Let each worker for entries plan its statements: TRUNCATE and ANALYZE threw all plans away.

    An installation plans them again after each vacuum of a busy table, once in 20,000 orders or so.
    Nothing of these orders is left to be done afterwards. count: the most accounts to use.

    Raises BenchError if one of them is not filled, or a worker got none.
    """
    accounts, workers = min(count, PLANNING), set[str]()
    for _ in range(PLANNING_TRIES):
        signals = [data.signal(data.feed(accounts)) for _ in range(2 * environment.workers)]
        for signal in signals:  # faster than they are executed, so each worker should get some
            publish_as_web(signal, data)
        environment.wait(environment.nothing_open)
        for signal in signals:
            check(environment, signal, accounts)
        found = environment.sql(WORKERS, [signal.pk for signal in signals])
        workers |= {worker_id for (worker_id,) in found}
        if len(workers) >= environment.workers:
            environment.sql(ROUTED)
            return
    raise BenchError(f"{len(workers)} of {environment.workers} workers have planned")


def check(
    environment: BenchEnvironment, signal: Signal, count: int,
    at_broker: Callable[[], Sequence[int]] | None = None,
) -> None:  # fmt: skip
    """Check that each order, fill, position and row of the broker's books exists once.

    at_broker: counts what another broker than the paper broker has. Raises BenchError.
    """
    (counts,) = environment.sql(COUNTS, {"signal": signal.pk})
    found = (*counts, *(at_broker() if at_broker else environment.sql(AT_PAPER, signal.pk)[0]))
    if set(found) != {count}:
        unfilled = [
            f"\n  {name}: {status} {reason} {detail} (the account: {health} {error})"
            for status, reason, detail, name, health, error in environment.sql(UNFILLED, signal.pk)
        ]
        message = f"{count} orders, but orders, fills, positions, broker's: {found}"
        raise BenchError(message + "".join(unfilled))
