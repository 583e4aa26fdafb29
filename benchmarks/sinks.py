"""What buses cost those who trade: the same sustained trading, without and with deliveries to them.

With them the stack's process `buses` delivers each event to Redis, NATS and Kafka. All of them run
on this machine, too, so what they use is missing here as it would not be with buses elsewhere.
ClickHouse is not among them: there is no server. Trading begins once all before is delivered.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from django.conf import settings
from redis import Redis

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.process_usage import Meter, children_of
from benchmarks.results import Baseline, Result, bounded
from benchmarks.trading import SIGNALS, plan_statements, sustain, trade_history
from buses.models import BusSink, DeadLetter
from buses.reading import newest_id
from buses.sources import SOURCES
from config.installation import ROOT
from ops.stack.stack import NICENESS
from tests.buses.engines import NatsServer

TARGET = 1.03
SLOWEST = 500  # events a second that all buses together must take
START_SECONDS = 600.0  # the process gives way to whatever else the machine does
STREAM, MOST_ENTRIES = "bench-sinks", 50_000  # 50 MB
LAG = "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(read_to)), 0) FROM buses_bussink"


def sinks(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Compare ten signals to `count` accounts, published at once, with and without buses."""
    if os.environ.get("FILLCAST_BUSES"):
        raise BenchError("The stack delivers to a bus already; unset FILLCAST_BUSES.")
    environment.run(workers=2)
    orders, meters = count * SIGNALS, {side: Meter(environment.pids) for side in (False, True)}
    seconds: dict[bool, list[float]] = {False: [], True: []}
    drained: dict[str, int] = {}
    lags: list[float] = []
    with _servers() as urls, trade_history(data, count):
        for number in range(environment.rounds):
            for has_sinks in (False, True) if number % 2 == 0 else (True, False):
                with _stack(environment, urls if has_sinks else []):
                    plan_statements(data, count)
                    _wait_caught_up(environment, START_SECONDS)
                    before, meter = _delivered(), meters[has_sinks]
                    seconds[has_sinks].append(sustain(data, orders, meter))
                    if has_sinks:
                        lags.append(float(environment.sql(LAG)[0][0]))
                        _wait_caught_up(environment, 60 + 8 * orders * len(urls) / SLOWEST)
                        for bus, events in _delivered().items():
                            drained[bus] = drained.get(bus, 0) + events - before.get(bus, 0)
                    environment.reset()
            report_progress(f"  round {number + 1}: {seconds[True][-1] / seconds[False][-1]:.3f}")
    if min(drained.values()) < orders * environment.rounds:
        raise BenchError(f"{orders:,} orders a round, but fewer events: {drained}")
    with Redis.from_url(settings.REDIS_URL) as redis:
        redis.delete(STREAM, f"{{{STREAM}}}:ids", f"{{{STREAM}}}:count")
    ours, theirs = median(seconds[True]), median(seconds[False])
    return bounded(
        "sinks", count, ours / theirs, target=TARGET, seconds=ours, items=orders,
        baseline=Baseline("the same without sinks", theirs, orders / theirs),
        unit="seconds with sinks by those without", rounds_s=seconds[True],
        baseline_rounds_s=seconds[False], events_drained=drained, lag_s=lags,
        cpu_us_an_order=meters[True].us_each, baseline_cpu_us_an_order=meters[False].us_each,
    )  # fmt: skip


@contextlib.contextmanager
def _stack(environment: BenchEnvironment, urls: Sequence[str]) -> Iterator[None]:
    """Run a new stack meanwhile, which delivers to these buses."""
    environment.run(workers=0)
    BusSink.objects.all().delete()  # or operators are alerted that they are late
    with environment.more_environ({"FILLCAST_BUSES": ",".join(urls)}):
        environment.run(workers=2)
        _wait(environment, lambda: len(_delivered()) == len(urls), START_SECONDS)
        yield
        environment.run(workers=0)


@contextlib.contextmanager
def _servers() -> Iterator[list[str]]:
    """Run NATS and mock brokers of Kafka; yield the buses' URLs. They give way, as if elsewhere."""
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
        redis = str(settings.REDIS_URL).rsplit("/", 1)[0].replace("redis://", "redis+stream://")
        yield [f"{redis}/{STREAM}?maxlen={MOST_ENTRIES}", f"{nats.url}/BENCH",
               f"kafka://{first}/bench?{more}"]  # fmt: skip


def _wait_caught_up(environment: BenchEnvironment, seconds: float) -> None:
    """Wait until every bus has all that has happened. Raises BenchError with its error."""
    newest = {source.name: newest_id(source.model) for source in SOURCES}
    _wait(environment, lambda: _has_all(newest), seconds)
    letters = DeadLetter.objects.values_list("sink__name", "reason")
    if letters:
        raise BenchError(f"Buses refused {len(letters)} events; the newest: {letters[0]}")


def _wait(environment: BenchEnvironment, done: Callable[[], bool], seconds: float) -> None:
    try:
        environment.wait(done, seconds=seconds, every=0.1)
    except BenchError as error:
        states = BusSink.objects.values_list("name", "delivered", "is_behind", "last_error")
        raise BenchError(f"{error}; {[*states]}") from error


def _delivered() -> dict[str, int]:
    """Return how many events each bus has confirmed, by the kind of bus."""
    found = BusSink.objects.values_list("name", "delivered")
    return {name.partition("://")[0]: delivered for name, delivered in found}


def _has_all(newest: dict[str, int]) -> bool:
    for sink in BusSink.objects.prefetch_related("cursors"):
        cursors = {cursor.source: cursor.last_id for cursor in sink.cursors.all()}
        if sink.is_behind or any(cursors.get(name, -1) < last for name, last in newest.items()):
            return False
    return True
