"""Orders a second over many signals, against no-op tasks a second of the same workers."""

import time

from benchmarks import fanout, usage
from benchmarks.noop import noop
from benchmarks.place import EXECUTION, BenchError, Place, say
from benchmarks.results import Result, compared
from benchmarks.world import World
from config.celery import app

SIGNALS, NOOPS = 10, 3_000
TARGETS = {1: 5.0, 2: 3.0}  # by the number of processes


def two(place: Place, world: World, n: int) -> Result:
    """n orders by two processes, as the stack has them."""
    return _sustained("sustained", place, world, n, workers=2)


def one(place: Place, world: World, n: int) -> Result:
    """n orders by a single process."""
    return _sustained("sustained_one", place, world, n, workers=1)


def _sustained(name: str, place: Place, world: World, n: int, *, workers: int) -> Result:
    place.run(workers=workers)
    place.reset()
    noops = min(NOOPS, n)
    _noops(place, noops // 10, usage.Meter(place.pids))  # warm-up
    fanout.ours(place, world, max(n // SIGNALS, 1))
    place.reset()
    meter, noop_meter = usage.Meter(place.pids), usage.Meter(place.pids)
    seconds, noop_seconds = [], []
    for number in range(place.rounds):
        noop_seconds.append(_noops(place, noops, noop_meter))
        with meter.over(n):
            seconds.append(_orders(place, world, n))
        place.reset()
        rates = f"{n / seconds[-1]:,.0f} orders/s, {noops / noop_seconds[-1]:,.0f} no-ops/s"
        say(f"  round {number + 1}: {rates}")
    return compared(
        name,
        n=n,
        seconds=seconds,
        baseline="no-op tasks of the same workers",
        baseline_n=noops,
        baseline_seconds=noop_seconds,
        target=TARGETS[workers],
        cpu_us_an_order=meter.us_each,
        cpu_us_a_noop=noop_meter.us_each,
        cpu_ratio=noop_meter.us_in_all / meter.us_in_all,
        processes=workers,
        signals=SIGNALS,
    )


def _orders(place: Place, world: World, n: int) -> float:
    """Seconds from the first publish to the last of n orders."""
    subscribers = max(n // SIGNALS, 1)
    signals = [world.signal(world.feed(subscribers)) for _ in range(SIGNALS)]
    start = time.perf_counter()
    for signal in signals:
        fanout.publish_as_web(signal, world)
    place.wait(place.nothing_open, every=0.02)
    seconds = time.perf_counter() - start
    ((fills,),) = place.sql("SELECT count(*) FROM execution_fill")
    if fills != subscribers * SIGNALS:
        told = "".join(fanout.unfilled(place, signal) for signal in signals)
        raise BenchError(f"{subscribers * SIGNALS} orders, but {fills} fills{told}")
    return seconds


def _noops(place: Place, n: int, meter: usage.Meter) -> float:
    """Seconds to drain a backlog of no-ops that was there before the workers went on."""
    with place.halted():
        with app.producer_pool.acquire(block=True) as producer:
            for number in range(n):
                noop.apply_async(([number],), queue=EXECUTION, producer=producer)
        on = meter.over(n)
        on.__enter__()
        start = time.perf_counter()
    place.wait(lambda: place.waiting(EXECUTION) == 0)
    seconds = time.perf_counter() - start
    on.__exit__(None, None, None)
    return seconds
