"""The process `manage.py buses` of the stack, with every bus that can run here, on and off."""

import contextlib
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks import sink_doubles
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.events import redis_bus, remove_stream
from benchmarks.process_usage import Pids
from benchmarks.sink_callback import ADDRESS
from buses.models import BusSink, DeadLetter
from buses.reading import newest_id
from buses.sources import SOURCES
from config.installation import ROOT
from ops.stack.process import ManagedProcess
from ops.stack.stack import BUSES_NICENESS, command_process

NAME, STREAM, CALLBACK = "buses", "bench-sinks", "python:webhook"
MOST_ENTRIES = 50_000  # 50 MB
PLUGIN = Path(__file__).with_name("sink_plugin")
START_SECONDS = 600.0  # it gives way to whatever else the machine does
STOP_SECONDS, EVERY = 20.0, 0.1
LAG = "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(read_to)), 0) FROM buses_bussink"


class BusProcess:
    """Runs and stops the process. It is started as the stack starts it, but is not forked."""

    def __init__(self, environment: BenchEnvironment, doubles: sink_doubles.Doubles) -> None:
        if NAME in environment.pids():
            raise BenchError("The stack delivers to a bus already; unset FILLCAST_BUSES.")
        self._environment, self._doubles = environment, doubles
        urls = [f"{redis_bus(STREAM)}?maxlen={MOST_ENTRIES}", *doubles.urls]
        self.sinks = len(urls) + 1
        more = {"FILLCAST_BUSES": ",".join(urls), ADDRESS: doubles.inbox}
        spec = command_process(NAME, niceness=BUSES_NICENESS)
        spec = replace(spec, env={**spec.env, **more, "PYTHONPATH": str(PLUGIN)}, forked=False)
        stack = environment.stack
        self._process = ManagedProcess(spec, stack.environ, stack.folder / "log", ROOT)

    @contextlib.contextmanager
    def delivering(self) -> Iterator[None]:
        """Within: the process delivers what happens from now on."""
        BusSink.objects.all().delete()
        self._process.start()
        try:
            self._wait(lambda: len(self.delivered()) == self.sinks, START_SECONDS)
            self.wait_caught_up(START_SECONDS)
            yield
        finally:
            self._stop()
            BusSink.objects.all().delete()  # or operators are alerted that they are late
            remove_stream(STREAM)

    def pids(self) -> Pids:
        """Return the processes of the stack, this one, and the doubles, which are not ours."""
        own = self._process.pid
        doubles = {f"{name} (a double)": pids for name, pids in self._doubles.pids.items()}
        return {**self._environment.pids(), **({NAME: [own]} if own else {}), **doubles}

    def delivered(self) -> dict[str, int]:
        """Return how many events each bus has confirmed, by the kind of bus."""
        found = BusSink.objects.values_list("name", "delivered")
        return {name.partition("://")[0]: delivered for name, delivered in found}

    def received(self) -> int:
        """Return how many fills the function at each fill has posted."""
        with urllib.request.urlopen(self._doubles.inbox, timeout=10) as answer:
            return int(answer.read())

    def lag_seconds(self) -> float:
        """Return how far the latest bus is behind, as the metrics of the product state it."""
        return float(self._environment.sql(LAG)[0][0])

    def wait_caught_up(self, seconds: float) -> None:
        """Wait until every bus has all that has happened. Raises BenchError with its error."""
        newest = {source.name: newest_id(source.model) for source in SOURCES}
        self._wait(lambda: _has_all(newest), seconds)
        letters = DeadLetter.objects.values_list("sink__name", "reason")
        if letters:
            raise BenchError(f"Buses refused {len(letters)} events; the newest: {letters[0]}")

    def wait_delivering(self, before: Mapping[str, int]) -> None:
        """Wait until each bus has some of what has happened since."""
        self._wait(lambda: _is_above(self.delivered(), before), START_SECONDS)

    def _wait(self, done: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not done():
            if not self._process.alive or time.monotonic() > end:
                states = BusSink.objects.values_list("name", "delivered", "is_behind", "last_error")
                what = "has not caught up" if self._process.alive else "has ended"
                raise BenchError(f"manage.py buses {what}; {[*states]}; {self._process.log}")
            time.sleep(EVERY)

    def _stop(self) -> None:
        process = self._process.process
        if process is not None:
            process.terminate()
            end = time.monotonic() + STOP_SECONDS
            while self._process.alive and time.monotonic() < end:
                time.sleep(EVERY)
            process.kill()
            process.wait()


def _has_all(newest: dict[str, int]) -> bool:
    """Return whether no bus is behind these ids."""
    for sink in BusSink.objects.prefetch_related("cursors"):
        cursors = {cursor.source: cursor.last_id for cursor in sink.cursors.all()}
        if sink.is_behind or any(cursors.get(name, -1) < last for name, last in newest.items()):
            return False
    return True


def _is_above(delivered: Mapping[str, int], before: Mapping[str, int]) -> bool:
    return all(events > before.get(bus, 0) for bus, events in delivered.items())
