"""What buses cost those who trade: the same fan-out and sustained trading, without and with them.

With them the stack's process `buses` delivers each event to Redis, NATS and Kafka. All of them run
on this machine, too, so what they use is missing here as it would not be with buses elsewhere.
ClickHouse is not among them: there is no server.

`fanout` and `sustained` begin once everything before is delivered, as on most days: a bus that has
nothing to do looks once a second, so most of a fan-out is over before one begins to deliver it.
`fanout_draining` begins while buses deliver what was traded just before.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings
from redis import Redis

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.process_usage import Meter, children_of
from benchmarks.results import Baseline, Result, bounded
from benchmarks.trading import SIGNALS, fan_out, plan_statements, sustain, trade_history
from buses.models import BusSink, DeadLetter
from buses.reading import newest_id
from buses.sources import SOURCES
from config.installation import ROOT
from ops.stack.stack import NICENESS
from tests.buses.engines import NatsServer

TARGET = 1.03
FANOUTS = 3  # of each side in a round: one takes a quarter of a second, and varies by a fifth
SLOWEST = 500  # events a second that all buses together must take
START_SECONDS = 600.0  # the process gives way to whatever else the machine does
STREAM, MOST_ENTRIES = "bench-sinks", 50_000  # 50 MB
LAG = "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(read_to)), 0) FROM buses_bussink"
FANOUT, DRAINING, SUSTAINED = TRADES = ("fanout", "fanout_draining", "sustained")


@dataclass(slots=True)
class Trade:
    """The fan-outs of one kind, or the sustained trading, of one side.

    drained: events that each bus had at last, with what waited at the start. lag_s: of the latest
    bus when the last order was committed.
    """

    meter: Meter
    seconds: list[float] = field(default_factory=list)
    drained: dict[str, int] = field(default_factory=dict)
    lag_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured. Each side has its trades by name."""

    environment: BenchEnvironment
    data: BenchData
    count: int
    urls: list[str]
    sides: dict[bool, dict[str, Trade]]

    def side(self, *, has_sinks: bool) -> None:
        """Measure one side of a round, with a new stack."""
        self.environment.run(workers=0)
        BusSink.objects.all().delete()  # or operators are alerted that they are late
        buses = {"FILLCAST_BUSES": ",".join(self.urls)} if has_sinks else {}
        with self.environment.more_environ(buses):
            self.environment.run(workers=2)
            if has_sinks:
                self._wait(lambda: len(_delivered()) == len(self.urls), START_SECONDS)
            for name in [FANOUT, DRAINING] * FANOUTS + [SUSTAINED]:
                self._trade(name, self.sides[has_sinks][name], has_sinks)
                self.environment.reset()
            self.environment.run(workers=0)

    def orders(self, name: str) -> int:
        """Return how many orders a trade has: as many accounts, and as many signals as usual."""
        return self.count * SIGNALS if name == SUSTAINED else self.count

    def _trade(self, name: str, trade: Trade, has_sinks: bool) -> None:
        """Trade, and wait until all of it is delivered. Raises BenchError if a bus got less."""
        before = _delivered()
        plan_statements(self.environment, self.data, self.count)
        if has_sinks and name == DRAINING:
            self._wait(lambda: _is_above(_delivered(), before), START_SECONDS)
        elif has_sinks:
            self._wait_caught_up(START_SECONDS)
        orders, before = self.orders(name), _delivered()
        if name == SUSTAINED:
            trade.seconds.append(sustain(self.environment, self.data, orders, trade.meter))
        else:
            run = fan_out(self.environment, self.data, orders, trade.meter)
            trade.seconds.append(run.seconds)
        if not has_sinks:
            return
        trade.lag_s.append(float(self.environment.sql(LAG)[0][0]))
        self._wait_caught_up(60 + 8 * orders * len(self.urls) / SLOWEST)
        drained = {bus: events - before.get(bus, 0) for bus, events in _delivered().items()}
        if min(drained.values()) < orders:
            raise BenchError(f"{orders:,} orders, but fewer events: {drained}")
        for bus, events in drained.items():
            trade.drained[bus] = trade.drained.get(bus, 0) + events

    def _wait_caught_up(self, seconds: float) -> None:
        """Wait until every bus has all that has happened. Raises BenchError with its error."""
        newest = {source.name: newest_id(source.model) for source in SOURCES}
        self._wait(lambda: _has_all(newest), seconds)
        letters = DeadLetter.objects.values_list("sink__name", "reason")
        if letters:
            raise BenchError(f"Buses refused {len(letters)} events; the newest: {letters[0]}")

    def _wait(self, done: Any, seconds: float) -> None:
        try:
            self.environment.wait(done, seconds=seconds, every=0.1)
        except BenchError as error:
            states = BusSink.objects.values_list("name", "delivered", "is_behind", "last_error")
            raise BenchError(f"{error}; {[*states]}") from error


def sinks(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Compare a fan-out to `count` accounts, and ten such signals at once, with those without."""
    if os.environ.get("FILLCAST_BUSES"):
        raise BenchError("The stack delivers to a bus already; unset FILLCAST_BUSES.")
    environment.run(workers=2)
    with _servers() as urls, trade_history(environment, data, count):
        sides = {has_sinks: {name: Trade(Meter(environment.pids)) for name in TRADES}
                 for has_sinks in (False, True)}  # fmt: skip
        bench = Bench(environment, data, count, [_redis_bus(), *urls], sides)
        for number in range(environment.rounds):
            for has_sinks in (False, True) if number % 2 == 0 else (True, False):
                bench.side(has_sinks=has_sinks)
            report_progress(f"  round {number + 1}: {_ratios(bench)}")
    with Redis.from_url(settings.REDIS_URL) as redis:
        redis.delete(STREAM, f"{{{STREAM}}}:ids", f"{{{STREAM}}}:count")
    return _result(bench)


@contextlib.contextmanager
def _servers() -> Iterator[list[str]]:
    """Run NATS and mock brokers of Kafka; yield their URLs. They give way, as if elsewhere."""
    before = children_of(os.getpid())
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="fillcast-bench-")))
        nats = NatsServer(folder)
        stack.callback(nats.kill)
        nats.start()
        command = [sys.executable, "-m", "tests.buses.kafka_cluster"]
        kafka = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE))
        stack.callback(kafka.kill)
        assert kafka.stdout is not None
        first, *others = kafka.stdout.readline().decode().strip().split(",")
        for pid in {*children_of(os.getpid())} - {*before}:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.setpriority(os.PRIO_PROCESS, int(thread.name), NICENESS)
        more = "&".join(f"broker={one}" for one in others)
        yield [f"{nats.url}/BENCH", f"kafka://{first}/bench?{more}"]


def _redis_bus() -> str:
    """Return the URL of a stream of the embedded Redis, which has a password."""
    server = str(settings.REDIS_URL).rsplit("/", 1)[0].replace("redis://", "redis+stream://")
    return f"{server}/{STREAM}?maxlen={MOST_ENTRIES}"


def _delivered() -> dict[str, int]:
    """Return how many events each bus has confirmed, by the kind of bus."""
    found = BusSink.objects.values_list("name", "delivered")
    return {name.partition("://")[0]: delivered for name, delivered in found}


def _is_above(delivered: Mapping[str, int], before: Mapping[str, int]) -> bool:
    return all(events > before.get(bus, 0) for bus, events in delivered.items())


def _has_all(newest: dict[str, int]) -> bool:
    """Return whether no bus is behind these ids."""
    for sink in BusSink.objects.prefetch_related("cursors"):
        cursors = {cursor.source: cursor.last_id for cursor in sink.cursors.all()}
        if sink.is_behind or any(cursors.get(name, -1) < last for name, last in newest.items()):
            return False
    return True


def _ratios(bench: Bench) -> dict[str, float]:
    return {name: median(bench.sides[True][name].seconds) / median(bench.sides[False][name].seconds)
            for name in TRADES}  # fmt: skip


def _result(bench: Bench) -> Result:
    """Return the worst of the ratios; the detail has all."""
    ratios = _ratios(bench)
    worst = max(ratios, key=ratios.__getitem__)
    orders = bench.orders(worst)
    ours, theirs = (median(bench.sides[side][worst].seconds) for side in (True, False))
    return bounded(
        "sinks", bench.count, ratios[worst], target=TARGET, seconds=ours, items=orders,
        baseline=Baseline("the same without sinks", theirs, orders / theirs),
        unit=f"seconds of {worst} with sinks by those without",
        trades={name: _detail(bench, name) | {"ratio": ratio} for name, ratio in ratios.items()},
    )  # fmt: skip


def _detail(bench: Bench, name: str) -> dict[str, Any]:
    ours, theirs = bench.sides[True][name], bench.sides[False][name]
    return {
        "orders": bench.orders(name), "rounds_s": ours.seconds, "baseline_rounds_s": theirs.seconds,
        "baseline_spread": (max(theirs.seconds) - min(theirs.seconds)) / median(theirs.seconds),
        "events_drained": ours.drained, "lag_s": ours.lag_s, "cpu_us_an_order": ours.meter.us_each,
        "baseline_cpu_us_an_order": theirs.meter.us_each,
    }  # fmt: skip
