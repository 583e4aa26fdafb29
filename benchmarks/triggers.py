"""Judging quotes with many open positions and emulated orders, beside queries for each quote.

The quotes take the way of a broker's: they are validated, judged for levels, stored, and judged for
break-even and trailing rules and for triggers. First they run as fast as they can and reach
nothing. Then they arrive at the target's rate, and some of them reach a level or a trigger; the
latency is from such a quote's arrival until its exit, or the entry to be sent, is committed.

Ours and the database's session never work at the same time, so both together use one core.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from django.db import connection
from django.db.models import Q

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.monitor import CONNECTIONS, SYMBOLS, ensure_signals
from benchmarks.monitor import SEED as POSITIONS
from benchmarks.process_usage import Meter, waited_seconds
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
  SELECT c.ids[1 + g %% %(connections)s], s.ids[1 + g / %(connections)s], 'entry',
    CASE WHEN %(single)s THEN 'T' || %(round)s || 'N' || g || '/USD'
      ELSE 'S' || g %% %(symbols)s || '/USD' END, 'S',
    CASE WHEN %(single)s OR g / %(symbols)s / 4 %% 2 = 0 THEN 'BUY' ELSE 'SELL' END,
    (ARRAY['STOP', 'IF_TOUCHED', 'TRAILING_STOP', 'TRAILING_STOP'])[1 + CASE WHEN %(single)s THEN 0
      ELSE g / %(symbols)s %% 4 END],
    'GTC', 1000, 'PENDING', 'AWAITING_TRIGGER', NULL, now() + interval '1 hour', now()
  FROM generate_series(0, %(n)s - 1) g
  CROSS JOIN (SELECT array_agg(id) AS ids FROM (SELECT id FROM connections_executionconnection
    ORDER BY id LIMIT %(connections)s) x) c
  CROSS JOIN (SELECT array_agg(id ORDER BY id) AS ids FROM signals_signal
    WHERE strategy_id = %(strategy)s) s
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
SELECT c.ids[1 + g %% %(connections)s], s.ids[1 + g / %(connections)s],
  'P' || %(round)s || 'N' || g || '/USD', 'P', 'BUY', 1000, 1000, 100, 99, 110, 'ENGINE', 'ENGINE',
  %(source)s, 0.01, 1, now() - interval '1 hour', now() - interval '1 hour'
FROM generate_series(0, %(n)s - 1) g
CROSS JOIN (SELECT array_agg(id) AS ids FROM (SELECT id FROM connections_executionconnection
  ORDER BY id LIMIT %(connections)s) x) c
CROSS JOIN (SELECT array_agg(id ORDER BY id) AS ids FROM signals_signal
  WHERE strategy_id = %(strategy)s) s
"""


def triggers(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Judge quotes with `count` emulated orders and ten times as many open positions."""
    environment.run(workers=0)
    environment.reset()
    hits = max(2, min(HITS, count // 50)) // 2 * 2
    _seed(environment, data, count, hits)
    market = RandomWalk()
    exclude_imports_from_gc(threshold=10_000)  # as trading processes do
    meter = Meter(lambda: {"ours": [os.getpid()], "postgres": [_backend()]})
    ours: list[float] = []
    plain: list[float] = []
    waited: list[float] = []  # for a processor, while the quotes arrive at the target's rate
    took: dict[str, list[float]] = {"exits": [], "entries": []}
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
            before = waited_seconds((os.getpid(), _backend()))
            _paced(judged, market, _hit_quotes(number, hits), seconds, took)
            waited.append(waited_seconds((os.getpid(), _backend())) - before)
            report_progress(f"  round {number + 1}: {quotes / ours[-1]:,.0f} quotes/s")
    environment.reset()
    p99 = percentile(took["exits"], 99)
    on_one_core = 1e6 / max(meter.us_in_all, 1e-9)
    return compared(
        "triggers", count=quotes, seconds=ours, baseline="two ORM queries for each quote",
        baseline_count=few, baseline_seconds=plain, target=TARGET, latencies_ms=took["exits"],
        also=on_one_core >= WANTED and p99 <= LATENCY_MS, positions=10 * count,
        emulated_orders=count, quotes_a_second_of_one_core=on_one_core,
        cpu_us_a_quote=meter.us_each, hits=sum(map(len, took.values())),
        slowest_exit_ms=max(took["exits"]), waited_for_processor_s=sum(waited),
        entries_p50_ms=percentile(took["entries"], 50),
        entries_p99_ms=percentile(took["entries"], 99),
    )  # fmt: skip


class RandomWalk:
    """Prices of all pairs that never leave a narrow range, so that nothing is reached."""

    def __init__(self) -> None:
        self.pairs = [f"S{number}/USD" for number in range(SYMBOLS)]
        self._random = random.Random(SEED)
        self._at = dict.fromkeys(self.pairs, MIDDLE)

    def quotes(self, count: int) -> list[Quote]:
        """Return the next quotes, each of a random pair."""
        now, quotes = market_now(), []
        for _ in range(count):
            pair = self._random.choice(self.pairs)
            moved = self._at[pair] + self._random.choice((-STEP, STEP))
            self._at[pair] = at = min(max(moved, MIDDLE - FURTHEST), MIDDLE + FURTHEST)
            bid = Decimal(f"{at:.2f}")
            quotes.append(Quote(pair, bid, bid + SPREAD, now))
        return quotes


@dataclass
class Judged:
    """A source's intake and feed, and what its quotes have reached: (time, number of orders)."""

    intake: QuoteIntake
    feed: LiveFeed
    reached: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def publish(self, quotes: Sequence[Quote]) -> None:
        """Accept, store and judge quotes. Raises BenchError if some were not accepted."""
        for quote in quotes:
            if not self.intake.accept(quote):
                raise BenchError(f"not accepted: {quote}")
        self.feed.step(market_now())


class _Stream:
    def __init__(self, intake: QuoteIntake) -> None:
        self._intake = intake

    def due(self, now: datetime) -> list[Quote]:
        """Return the accepted quotes."""
        return self._intake.take_accepted()


@contextmanager
def judged_quotes(source: DataConnection, pairs: Sequence[str]) -> Iterator[Judged]:
    """Judge a source's quotes in this process as trading processes do, one after the other."""
    intake = QuoteIntake({pair: pair for pair in pairs}, {})
    judged = Judged(intake, LiveFeed(source, _Stream(intake), to_paper=False))
    monitors: dict[str, Judge] = {
        "exits": TickMonitor().process_quotes,
        "rules": StopRuleMonitor().process_quotes,
        "entries": TriggerMonitor().process_quotes,
    }

    def judge(
        names: Sequence[str], *, data_connection_id: int, quotes: list[Quote], waited: float,
        **_: Any,
    ) -> None:  # fmt: skip
        for name in names:
            if written := monitors[name](data_connection_id, quotes, waited):
                judged.reached.setdefault(name, []).append((time.perf_counter(), len(written)))

    exits, others = partial(judge, ("exits",)), partial(judge, ("rules", "entries"))
    quotes_arrived.connect(exits)
    quotes_stored.connect(others)
    try:
        yield judged
    finally:
        quotes_arrived.disconnect(exits)
        quotes_stored.disconnect(others)


def _fast(judged: Judged, market: RandomWalk, count: int) -> float:
    """Return the seconds that these quotes take in batches, without a pause."""
    quotes = market.quotes(count)
    start = time.perf_counter()
    for first in range(0, count, BATCH):
        judged.publish(quotes[first : first + BATCH])
    seconds = time.perf_counter() - start
    if judged.reached:
        raise BenchError(f"reached although no price was near: {judged.reached}")
    return seconds


def _paced(
    judged: Judged, market: RandomWalk, hits: Sequence[tuple[str, Quote]], seconds: float,
    took: dict[str, list[float]],
) -> None:  # fmt: skip
    """Let quotes arrive at the target's rate; add the milliseconds of each hit to `took`."""
    count = int(QUOTES_A_SECOND * seconds)
    arriving = sorted(
        [((number + 1) / QUOTES_A_SECOND, "", quote)
         for number, quote in enumerate(market.quotes(count))]
        + [((number + 0.5) * seconds / len(hits), kind, quote)
           for number, (kind, quote) in enumerate(hits)],
        key=lambda one: one[0],
    )  # fmt: skip
    judged.reached.clear()
    came: dict[str, list[float]] = {"exits": [], "entries": []}
    start, taken = time.perf_counter(), 0
    while taken < len(arriving):
        began = time.perf_counter()
        first = taken
        while taken < len(arriving) and start + arriving[taken][0] <= began:
            at, kind, _ = arriving[taken]
            if kind:
                came[kind].append(start + at)
            taken += 1
        judged.publish([quote for _, _, quote in arriving[first:taken]])
        time.sleep(pause_after(time.perf_counter() - began, LIVE_STEP_SECONDS))
    for kind, arrived in came.items():
        took[kind] += _took(kind, arrived, judged)
    judged.reached.clear()


def _took(kind: str, arrived: Sequence[float], judged: Judged) -> Iterator[float]:
    """Yield the milliseconds from each arrival to its commit. Raises BenchError if one is lost."""
    committed = [at for at, orders in judged.reached.get(kind, []) for _ in range(orders)]
    if len(committed) != len(arrived):
        raise BenchError(f"{len(arrived)} hits, but {len(committed)} {kind}")
    for at, done in zip(arrived, committed, strict=True):
        yield 1000 * (done - at)


def _one_by_one(source: DataConnection, quotes: Sequence[Quote]) -> float:
    """Return the seconds of looking for levels and for triggers with each quote. Finds none."""
    start = time.perf_counter()
    for quote in quotes:
        bid, ask = quote.bid, quote.ask
        of_pair = {"pair": quote.symbol}
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
    data.connections(CONNECTIONS)
    ensure_signals(data, "monitor", 10 * count // CONNECTIONS + 1)
    for number in range(environment.rounds):
        ensure_signals(data, f"round-{number}", 1)
    shared = {"connections": CONNECTIONS, "symbols": SYMBOLS, "source": data.source.pk}
    environment.sql("SET session_replication_role = replica")
    environment.owner.execute(POSITIONS, {**shared, "n": 10 * count})
    armed = {**shared, "single": False, "round": 0, "strategy": "monitor", "n": count}
    environment.owner.execute(TRIGGERS, armed)
    environment.sql(WRITE_PEAKS, {**shared, "peaks": PEAKS})
    for number in range(environment.rounds):
        single = {"round": number, "strategy": f"round-{number}", "n": hits // 2}
        environment.owner.execute(TRIGGERS, {**shared, **single, "single": True})
        environment.owner.execute(SINGLE_POSITIONS, {**shared, **single})
    environment.sql("SET session_replication_role = DEFAULT")
    environment.sql("VACUUM ANALYZE")


def _before_hits(rounds: int, hits: int) -> list[Quote]:
    """Return the prices before the hits, which reach nothing: a lone far quote is held back."""
    away = {"exits": Decimal("0.03"), "entries": Decimal("-0.03")}
    return [
        Quote(quote.symbol, quote.bid + away[kind], quote.ask + away[kind], quote.time)
        for number in range(rounds)
        for kind, quote in _hit_quotes(number, hits)
    ]


def _hit_quotes(number: int, hits: int) -> list[tuple[str, Quote]]:
    """Return what a round's hits reach and their quotes: stops of positions, stop entries."""
    now, quotes = market_now(), list[tuple[str, Quote]]()
    for one in range(hits // 2):
        low, high = Decimal("98.99"), Decimal("101.00")  # just beyond 99, and 101.01 with spread
        quotes.append(("exits", Quote(f"P{number}N{one}/USD", low, low + SPREAD, now)))
        quotes.append(("entries", Quote(f"T{number}N{one}/USD", high, high + SPREAD, now)))
    return quotes


def _backend() -> int:
    """Return the process of our session at the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])
