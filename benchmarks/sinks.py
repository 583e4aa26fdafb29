"""What buses cost those who trade: the same fan-out and sustained trading, without and with them.

With them `manage.py buses` delivers each event to Redis, NATS, Kafka and a function that posts each
fill to a web server. All of them run on this machine, too, so what they use is missing here as it
would not be with buses elsewhere.

`fanout` and `sustained` begin once everything before is delivered, as on most days: a bus that has
nothing to do looks once a second, so most of a fan-out is over before one begins to deliver it.
`fanout_draining` begins while buses deliver what was traded just before.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks import fanout, sink_doubles, sustained
from benchmarks.bus_process import CALLBACK, START_SECONDS, BusProcess
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.process_usage import Meter
from benchmarks.results import Baseline, Result

TARGET, HALF = 1.03, 1.06  # half: twice of what may be added
FANOUTS = 3  # of each side in a round: one takes a quarter of a second, and varies by a fifth
SLOWEST = 500  # events a second that all buses together must take
FANOUT, DRAINING, SUSTAINED = TRADES = ("fanout", "fanout_draining", "sustained")


@dataclass(slots=True)
class Trade:
    """The fan-outs of one kind, or the sustained trading, of one side.

    while_trading: events that all buses together confirmed until the last order was committed;
    drained: each until it had all, with what waited at the start. lag_s: of the latest bus at that
    last commit; behind_s: from then until all was delivered.
    """

    meter: Meter
    seconds: list[float] = field(default_factory=list)
    while_trading: int = 0
    drained: dict[str, int] = field(default_factory=dict)
    lag_s: list[float] = field(default_factory=list)
    behind_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Watch:
    """A meter that also reads how far buses are, at once when the last order is committed."""

    buses: BusProcess
    trade: Trade

    @contextlib.contextmanager
    def over(self, items: int) -> Iterator[None]:
        """Count what is used and delivered inside for this number of orders."""
        before = sum(self.buses.delivered().values())
        with self.trade.meter.over(items):
            yield
        self.trade.lag_s.append(self.buses.lag_seconds())
        self.trade.while_trading += sum(self.buses.delivered().values()) - before


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured, and by what. Each side has its trades by name."""

    environment: BenchEnvironment
    data: BenchData
    buses: BusProcess
    count: int
    sides: dict[bool, dict[str, Trade]]

    def side(self, *, has_sinks: bool) -> None:
        """Measure one side of a round."""
        with self.buses.delivering() if has_sinks else contextlib.nullcontext():
            for name in [FANOUT, DRAINING] * FANOUTS + [SUSTAINED]:
                self._prepare(name, has_sinks)
                trade = self.sides[has_sinks][name]
                if has_sinks:
                    self._with_sinks(name, trade)
                else:
                    trade.seconds.append(self._seconds(name, trade.meter))
                self.environment.reset()

    def orders(self, name: str) -> int:
        """Return how many orders a trade has: as many accounts, and as many signals as usual."""
        return self.count * sustained.SIGNALS if name == SUSTAINED else self.count

    def _prepare(self, name: str, has_sinks: bool) -> None:
        """Let workers and buses plan their statements. What that made is delivered, or just now."""
        before = self.buses.delivered()
        fanout.plan_statements(self.environment, self.data, self.count)
        if has_sinks and name == DRAINING:
            self.buses.wait_delivering(before)
        elif has_sinks:
            self.buses.wait_caught_up(START_SECONDS)

    def _with_sinks(self, name: str, trade: Trade) -> None:
        """Trade, and wait until all of it is delivered. Raises BenchError if a bus got less."""
        orders, before = self.orders(name), self.buses.delivered()
        posted = self.buses.received()
        trade.seconds.append(self._seconds(name, Watch(self.buses, trade)))
        start = time.perf_counter()
        self.buses.wait_caught_up(60 + 8 * orders * self.buses.sinks / SLOWEST)
        trade.behind_s.append(time.perf_counter() - start)
        after = self.buses.delivered()
        drained = {bus: after[bus] - before.get(bus, 0) for bus in after}
        drained[CALLBACK] = self.buses.received() - posted  # only fills are its business
        if min(drained.values()) < orders:
            raise BenchError(f"{orders:,} orders, but fewer events or fills: {drained}")
        for bus, events in drained.items():
            trade.drained[bus] = trade.drained.get(bus, 0) + events

    def _seconds(self, name: str, meter: Meter | Watch) -> float:
        if name == SUSTAINED:
            return sustained.orders(self.environment, self.data, self.orders(name), meter)
        return fanout.ours(self.environment, self.data, self.count, meter).seconds


def sinks(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Compare a fan-out to `count` accounts, and ten such signals at once, with those without."""
    environment.run(workers=2)
    with sink_doubles.running() as doubles, fanout.trade_history(environment, data, count):
        buses = BusProcess(environment, doubles)
        sides = {
            has_sinks: {name: Trade(Meter(buses.pids)) for name in TRADES}
            for has_sinks in (False, True)
        }
        bench = Bench(environment, data, buses, count, sides)
        for number in range(environment.rounds):
            for has_sinks in (False, True) if number % 2 == 0 else (True, False):
                bench.side(has_sinks=has_sinks)
            report_progress(f"  round {number + 1}: {_progress(sides)}")
        return _result(bench)


def _progress(sides: dict[bool, dict[str, Trade]]) -> str:
    texts = [
        f"{name} {median(sides[True][name].seconds):.3f} s, without"
        f" {median(sides[False][name].seconds):.3f} s"
        for name in TRADES
    ]
    return "; ".join(texts)


def _result(bench: Bench) -> Result:
    """Return the worst of the ratios; the detail has all.

    Raises BenchError if nothing was delivered while orders were traded: nothing was measured then.
    """
    without, with_sinks = bench.sides[False], bench.sides[True]
    ratios = {
        name: median(with_sinks[name].seconds) / median(without[name].seconds) for name in TRADES
    }
    if not sum(trade.while_trading for trade in with_sinks.values()):
        raise BenchError("No event was delivered while orders were traded; use a larger -n.")
    worst = max(TRADES, key=lambda name: ratios[name])
    orders, ratio = bench.orders(worst), ratios[worst]
    ours, theirs = median(with_sinks[worst].seconds), median(without[worst].seconds)
    return Result(
        name="sinks", n=bench.count, seconds=ours, rate=orders / ours, p50_ms=None, p99_ms=None,
        baseline=Baseline("the same without sinks", theirs, orders / theirs),
        ratio=ratio, target=TARGET, ok=ratio <= TARGET, half=ratio <= HALF,
        detail={
            "unit": f"seconds of {worst} with sinks by those without, less is better",
            "sinks": bench.buses.sinks,
            **{
                name: _detail(with_sinks[name], without[name], bench.orders(name), ratios[name])
                for name in TRADES
            },
        },
    )  # fmt: skip


def _detail(ours: Trade, theirs: Trade, orders: int, ratio: float) -> dict[str, Any]:
    return {
        "ratio": ratio,
        "orders": orders,
        "rounds_s": ours.seconds,
        "baseline_rounds_s": theirs.seconds,
        "baseline_spread": (max(theirs.seconds) - min(theirs.seconds)) / median(theirs.seconds),
        "events_drained": ours.drained,
        "events_while_trading": ours.while_trading,
        "lag_s": ours.lag_s,
        "all_delivered_after_s": ours.behind_s,
        "cpu_us_an_order": ours.meter.us_each,
        "baseline_cpu_us_an_order": theirs.meter.us_each,
    }
