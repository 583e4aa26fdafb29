"""Judging quotes with many open positions and emulated orders, beside queries for each quote.

The quotes take the way of a broker's: they are validated, judged for levels, stored, and judged for
break-even and trailing rules and for triggers. First they run as fast as they can and reach
nothing. Then they arrive at the target's rate, and some of them reach a stop; the latency is from
such a quote's arrival until its exit is committed.

Ours and the database's session never work at the same time, so both together use one core.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from django.db import connection
from django.db.models import Q

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.monitor import CONNECTIONS, SYMBOLS, refer
from benchmarks.monitor import SEED as POSITIONS
from benchmarks.process_usage import Meter
from benchmarks.results import Result, compared, percentile
from brokers.types import Quote
from common.clocks import market_now
from common.process.gc_tuning import exclude_imports_from_gc
from connections.models import DataConnection
from execution.models import OrderTrigger
from execution.monitoring.stop_rules import StopRuleMonitor
from execution.monitoring.tick_monitor import TickMonitor
from execution.monitoring.trigger_monitor import TriggerMonitor
from positions.models import ExecutionPosition
from prices.feed_runner import LIVE_STEP_SECONDS, pause_after
from prices.feeds import LiveFeed
from prices.quote_intake import QuoteIntake
from prices.signals import quotes_arrived, quotes_stored

Judge = Callable[[int, Sequence[Quote], float], list[int]]
QUOTES_A_SECOND, WANTED, LATENCY_MS, TARGET = 20_000, 50_000, 50.0, 10.0
BATCH = 1_000  # quotes of 50 ms at the target's rate
PACED_SECONDS, HITS, PLAIN_QUOTES, PEAKS = 5.0, 100, 200, 5
SEED = 13  # of the random walk
MIDDLE, STEP, SPREAD, FURTHEST = 100.0, 0.01, Decimal("0.02"), 0.05

# A quarter of each: stops, if-touched orders, trailing stops, trailing stops that are not active
# yet. None of them is reached by the random walk.
TRIGGERS = """
WITH o AS (
  INSERT INTO execution_order (connection_id, signal_id, leg, pair, symbol, side, order_type,
    time_in_force, quantity, status, reason, client_order_id, due_at, created_at)
  SELECT c.ids[1 + g %% %(accounts)s], c.signals[1 + g / %(accounts)s], 'entry',
    'S' || g %% %(symbols)s || '/USD', 'S',
    CASE WHEN g / %(symbols)s / 4 %% 2 = 0 THEN 'BUY' ELSE 'SELL' END,
    (ARRAY['STOP', 'IF_TOUCHED', 'TRAILING_STOP', 'TRAILING_STOP'])[1 + g / %(symbols)s %% 4],
    'GTC', 1000, 'PENDING', 'AWAITING_TRIGGER', NULL, now() + interval '1 hour', now()
  FROM generate_series(0, %(n)s - 1) g
  CROSS JOIN (SELECT %(ids)s::uuid[] AS ids, %(signals)s::bigint[] AS signals) c
  RETURNING id, connection_id, pair, side, order_type
), numbered AS (
  SELECT o.*, row_number() OVER (PARTITION BY pair, order_type ORDER BY id) AS place,
    CASE side WHEN 'BUY' THEN 1 ELSE -1 END AS sign
  FROM o
)
INSERT INTO execution_ordertrigger (order_id, connection_id, kind, sent_as, source_id, pair, side,
  level, distance, activation_price, active_since, armed_at)
SELECT id, connection_id, CASE order_type WHEN 'TRAILING_STOP' THEN 'TRAILING' ELSE order_type END,
  'MARKET', %(source)s, pair, side,
  CASE WHEN order_type = 'IF_TOUCHED' THEN 100 - sign * (1 + place * 0.01)
    WHEN order_type = 'TRAILING_STOP' AND place %% 2 = 0 THEN NULL
    ELSE 100 + sign * (1 + place * 0.01) END,
  CASE WHEN order_type = 'TRAILING_STOP' THEN 1 + place * 0.01 END,
  CASE WHEN order_type = 'TRAILING_STOP' AND place %% 2 = 0
    THEN 100 - sign * (1 + place * 0.01) END,
  CASE WHEN NOT (order_type = 'TRAILING_STOP' AND place %% 2 = 0)
    THEN now() - interval '1 minute' * place END,
  now() - interval '1 minute' * place
FROM numbered
"""
# What trailing stops that were armed at different times have left.
WRITE_PEAKS = """
INSERT INTO execution_pricepeak (source_id, pair, side, began_at, price)
SELECT %(source)s, 'S' || p || '/USD', s, now() - interval '1 minute' * a,
  CASE s WHEN 'SELL' THEN 99.98 + a * 0.01 ELSE 100.04 - a * 0.01 END
FROM generate_series(0, %(symbols)s - 1) p, unnest(ARRAY['BUY', 'SELL']) s,
  generate_series(1, %(peaks)s) a
"""
# Positions with a pair of their own, whose stop one quote reaches.
SINGLE_POSITIONS = """
INSERT INTO positions_executionposition (connection_id, signal_id, pair, symbol, side, quantity,
  opened_quantity, entry_price, sl, tp, sl_guardian, tp_guardian, price_source_id, pip,
  conversion_rate, opened_at, last_activity_at)
SELECT c.ids[1 + g %% %(accounts)s], c.signals[1 + g / %(accounts)s],
  'P' || %(round)s || 'N' || g || '/USD', 'P', 'BUY', 1000, 1000, 100, 99, 110, 'ENGINE', 'ENGINE',
  %(source)s, 0.01, 1, now() - interval '1 hour', now() - interval '1 hour'
FROM generate_series(0, %(n)s - 1) g
CROSS JOIN (SELECT %(ids)s::uuid[] AS ids, %(signals)s::bigint[] AS signals) c
"""


def triggers(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Judge quotes with `count` emulated orders and ten times as many open positions."""
    environment.run(workers=0)
    environment.reset()
    hits = max(1, min(HITS, count // 50))
    _seed(environment, data, count, hits)
    market = RandomWalk()
    exclude_imports_from_gc(threshold=10_000)  # as trading processes do
    meter = Meter(lambda: {"ours": [os.getpid()], "postgres": [_backend()]})
    ours, plain, took = list[float](), list[float](), list[float]()
    quotes, few = 10 * count, min(PLAIN_QUOTES, 10 * count)
    seconds = PACED_SECONDS * hits / HITS
    before_hits = _before_hits(environment.rounds, hits)
    pairs = market.pairs + [quote.symbol for quote in before_hits]
    with judged_quotes(data.source, pairs) as judged:
        judged.intake.expect(before_hits)
        _fast(judged, market, BATCH)  # warm-up
        for number in range(environment.rounds):
            with meter.over(quotes):
                ours.append(_fast(judged, market, quotes))
            plain.append(_one_by_one(data.source, market.quotes(few)))
            took += _paced(judged, market, _hit_quotes(number, hits), seconds)
            report_progress(f"  round {number + 1}: {quotes / ours[-1]:,.0f} quotes/s")
    environment.reset()
    p99 = percentile(took, 99)
    on_one_core = 1e6 / max(meter.us_in_all, 1e-9)
    return compared(
        "triggers", count=quotes, seconds=ours, baseline="two ORM queries for each quote",
        baseline_count=few, baseline_seconds=plain, target=TARGET, latencies_ms=took,
        also=on_one_core >= WANTED and p99 <= LATENCY_MS, positions=10 * count,
        emulated_orders=count, quotes_a_second_of_one_core=on_one_core,
        cpu_us_a_quote=meter.us_each, hits=len(took), slowest_exit_ms=max(took),
    )  # fmt: skip


class RandomWalk:
    """Prices of all pairs that never leave a narrow range, so that nothing is reached."""

    def __init__(self) -> None:
        self.pairs = [f"S{number}/USD" for number in range(SYMBOLS)]
        self._random = random.Random(SEED)
        self._at = dict.fromkeys(self.pairs, MIDDLE)

    def quotes(self, count: int) -> list[Quote]:
        now, quotes = market_now(), []
        for _ in range(count):
            pair = self._random.choice(self.pairs)
            moved = self._at[pair] + self._random.choice((-STEP, STEP))
            self._at[pair] = at = min(max(moved, MIDDLE - FURTHEST), MIDDLE + FURTHEST)
            bid = Decimal(f"{at:.2f}")
            quotes.append(Quote(pair, bid, bid + SPREAD, now))
        return quotes


class Judged:
    """A source's intake and feed, and when what its quotes have reached was committed."""

    def __init__(self, source: DataConnection, pairs: Sequence[str]) -> None:
        self.intake = QuoteIntake({pair: pair for pair in pairs}, {})
        self.feed = LiveFeed(source, self, to_paper=False)
        self.reached: list[float] = []

    def due(self, _: datetime) -> list[Quote]:
        return self.intake.take_accepted()

    def publish(self, quotes: Sequence[Quote]) -> None:
        """Accept, store and judge quotes. Raises BenchError if some were not accepted."""
        for quote in quotes:
            if not self.intake.accept(quote):
                raise BenchError(f"not accepted: {quote}")
        self.feed.step(market_now())


@contextmanager
def judged_quotes(source: DataConnection, pairs: Sequence[str]) -> Iterator[Judged]:
    """Judge a source's quotes in this process as trading processes do, one after the other."""
    judged = Judged(source, pairs)

    def judge(
        monitors: Sequence[Judge], *, data_connection_id: int, quotes: list[Quote], waited: float,
        **_: Any,
    ) -> None:  # fmt: skip
        for process_quotes in monitors:
            written = process_quotes(data_connection_id, quotes, waited)
            judged.reached += [time.perf_counter()] * len(written)

    exits = partial(judge, [TickMonitor().process_quotes])
    others = partial(judge, [StopRuleMonitor().process_quotes, TriggerMonitor().process_quotes])
    quotes_arrived.connect(exits)
    quotes_stored.connect(others)
    try:
        yield judged
    finally:
        quotes_arrived.disconnect(exits)
        quotes_stored.disconnect(others)


def _fast(judged: Judged, market: RandomWalk, count: int) -> float:
    quotes = market.quotes(count)
    start = time.perf_counter()
    for first in range(0, count, BATCH):
        judged.publish(quotes[first : first + BATCH])
    seconds = time.perf_counter() - start
    if judged.reached:
        raise BenchError(f"reached although no price was near: {judged.reached}")
    return seconds


def _paced(
    judged: Judged, market: RandomWalk, hits: Sequence[Quote], seconds: float
) -> list[float]:
    """Let quotes arrive at the target's rate; return the milliseconds from each hit to its exit.

    Raises BenchError if one is lost.
    """
    quotes = market.quotes(int(QUOTES_A_SECOND * seconds))
    hit_at = [(number + 0.5) * seconds / len(hits) for number in range(len(hits))]
    usual_at = [(number + 1) / QUOTES_A_SECOND for number in range(len(quotes))]
    arriving = sorted(
        zip([*usual_at, *hit_at], [*quotes, *hits], strict=True), key=lambda one: one[0]
    )
    start, taken = time.perf_counter(), 0
    while taken < len(arriving):
        began, first = time.perf_counter(), taken
        while taken < len(arriving) and start + arriving[taken][0] <= began:
            taken += 1
        judged.publish([quote for _, quote in arriving[first:taken]])
        time.sleep(pause_after(time.perf_counter() - began, LIVE_STEP_SECONDS))
    done = [*judged.reached]
    judged.reached.clear()
    if len(done) != len(hits):
        raise BenchError(f"{len(hits)} hits, but {len(done)} exits")
    return [1000 * (exit_at - start - at) for at, exit_at in zip(hit_at, done, strict=True)]


def _one_by_one(source: DataConnection, quotes: Sequence[Quote]) -> float:
    """Return the seconds of looking for levels and for triggers with each quote. Finds none."""
    start = time.perf_counter()
    for quote in quotes:
        bid, ask, of_pair = quote.bid, quote.ask, {"pair": quote.symbol}
        sold = Q(side="SELL", sl__lte=ask) | Q(side="SELL", tp__gte=ask)
        bought = Q(side="BUY", sl__gte=bid) | Q(side="BUY", tp__lte=bid)
        positions = ExecutionPosition.objects.filter(
            sold | bought, price_source_id=source.pk, quantity__gt=0, **of_pair
        )
        beyond = Q(side="BUY", level__lte=ask) | Q(side="SELL", level__gte=bid)
        touched = Q(side="BUY", level__gte=ask) | Q(side="SELL", level__lte=bid)
        armed = OrderTrigger.objects.filter(source=source, is_armed=True, **of_pair)
        reached = armed.filter(beyond & ~Q(kind="IF_TOUCHED") | touched & Q(kind="IF_TOUCHED"))
        if [*positions.values_list("pk")] or [*reached.values_list("pk")]:
            raise BenchError("reached although no price was near")
    return time.perf_counter() - start


def _seed(environment: BenchEnvironment, data: BenchData, count: int, hits: int) -> None:
    shared = refer(data, 10 * count // CONNECTIONS + 1)
    with environment.without_checks():
        environment.sql(POSITIONS, {**shared, "n": 10 * count})
        environment.sql(TRIGGERS, {**shared, "n": count})
        environment.sql(WRITE_PEAKS, {**shared, "peaks": PEAKS})
        for number in range(environment.rounds):
            of_round = {**refer(data, 1), "round": number, "n": hits}
            environment.sql(SINGLE_POSITIONS, of_round)
    environment.sql("VACUUM ANALYZE")


def _before_hits(rounds: int, hits: int) -> list[Quote]:
    """Return the prices before the hits, which reach nothing: a lone far quote is held back."""
    return [quote for number in range(rounds) for quote in _hit_quotes(number, hits, "99.02")]


def _hit_quotes(number: int, hits: int, price: str = "98.99") -> list[Quote]:
    """Return quotes of a round's positions; the usual price is just below their stops, 99."""
    now, low = market_now(), Decimal(price)
    return [Quote(f"P{number}N{one}/USD", low, low + SPREAD, now) for one in range(hits)]


def _backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])
