"""How fast one process catches up a bus that was away: a Redis stream, from the tables as they are.

Each order has four lines in the log, a fill and a position: seven events. They are written by SQL,
as they stand after an hour; what is measured is reading, making and writing them, to the last
confirmation.
"""

import math
import time

from django.conf import settings
from redis import Redis

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.results import Result
from buses.drain import Drain
from buses.models import BusSink
from buses.redis_streams.sink import open_sink

CONNECTIONS, EVENTS_PER_ORDER, TARGET = 1_000, 7, 2_000
STREAM = "bench-events"
ORDERS = """
INSERT INTO execution_order (connection_id, signal_id, leg, pair, symbol, side, order_type,
  time_in_force, quantity, filled_quantity, avg_fill_price, status, client_order_id, done_at)
SELECT c, s, 'entry', 'EUR/USD', 'EURUSD', 'BUY', 'MARKET', 'GTC', 1000, 1000, 1.1, 'FILLED',
  'e' || s || '-' || row_number() OVER (), now()
FROM unnest(%(ids)s::uuid[]) c CROSS JOIN unnest(%(signals)s::bigint[]) s
"""
FILLS = """
INSERT INTO execution_fill (connection_id, order_id, broker_fill_id, side, quantity, price, time)
SELECT connection_id, id, 'f' || id, 'BUY', 1000, 1.1, now() FROM execution_order
WHERE signal_id = ANY(%(signals)s)
"""
POSITIONS = """
INSERT INTO positions_executionposition (connection_id, signal_id, pair, symbol, side, quantity,
  opened_quantity, entry_price, sl_guardian, tp_guardian, pip, conversion_rate, opened_at)
SELECT c, s, 'EUR/USD', 'EURUSD', 'BUY', 1000, 1000, 1.1, '', '', 0.0001, 1, now()
FROM unnest(%(ids)s::uuid[]) c CROSS JOIN unnest(%(signals)s::bigint[]) s
"""
LINES = """
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status)
SELECT o.id, o.signal_id, o.connection_id, l.code, l.status
FROM execution_order o CROSS JOIN (VALUES (1, 'CREATED', 'PENDING'), (2, 'INTENT', 'SUBMITTING'),
  (3, 'SUBMITTED', 'SUBMITTED'), (4, 'FILL', 'FILLED')) l(step, code, status)
WHERE o.signal_id = ANY(%(signals)s) ORDER BY l.step, o.id
"""


def events(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure how long the drain takes for `count` events."""
    environment.run(workers=0)
    environment.reset()
    signals = math.ceil(count / EVENTS_PER_ORDER / CONNECTIONS)
    sink = open_sink(redis_bus(STREAM))
    took: list[float] = []
    total = signals * CONNECTIONS * EVENTS_PER_ORDER
    for number in range(environment.rounds):
        BusSink.objects.all().delete()
        drain = Drain(sink, holder="bench")
        drain.step()  # from now on
        _write(environment, data, signals, f"events{number}")
        began, delivered, is_more = time.perf_counter(), 0, True
        while is_more:
            step = drain.step()
            if step.retry_seconds:
                raise BenchError(BusSink.objects.get().last_error)
            delivered, is_more = delivered + step.delivered, step.is_more
        took.append(time.perf_counter() - began)
        if delivered != total:
            raise BenchError(f"{delivered:,} of {total:,} events were delivered")
        remove_stream(STREAM)
    sink.close()
    environment.reset()
    seconds = sorted(took)[len(took) // 2]
    rate = total / seconds
    return Result(
        name="events", n=total, seconds=seconds, rate=rate, p50_ms=None, p99_ms=None,
        baseline=None, ratio=rate / TARGET, target=1, ok=rate >= TARGET, half=rate >= TARGET / 2,
        detail={"unit": f"of {TARGET:,} events a second"}, more_is_better=True,
    )  # fmt: skip


def _write(environment: BenchEnvironment, data: BenchData, signals: int, name: str) -> None:
    published = data.published_signals(data.feed(CONNECTIONS), signals, strategy=name, targets=())
    parameters = {"ids": data.connections(CONNECTIONS), "signals": published}
    for statement in (ORDERS, FILLS, POSITIONS, LINES):
        environment.sql(statement, parameters)
    environment.sql("ANALYZE")


def redis_bus(stream: str) -> str:
    """Return the URL of a stream of the embedded Redis, which has a password."""
    server = str(settings.REDIS_URL).rsplit("/", 1)[0]
    return f"{server.replace('redis://', 'redis+stream://')}/{stream}"


def remove_stream(stream: str) -> None:
    """Delete a stream and what is beside it."""
    with Redis.from_url(settings.REDIS_URL) as redis:
        redis.delete(stream, f"{{{stream}}}:ids", f"{{{stream}}}:count")
