"""Buses to deliver to, each in a process of its own, so that none of their work counts as ours.

A NATS server, mock brokers that speak Kafka's protocol, and a web server for the function that is
called at each fill. Redis is the stack's own. ClickHouse is not among them: there is no server.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.environment import BenchError
from config.installation import ROOT
from ops.embedded.processes import spawn, wait_until
from tests.buses.engines import nats_binary
from tests.ports import free_port

NICENESS = 10  # as the workers for entries: buses are on other machines
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Doubles:
    """The running processes. urls: for FILLCAST_BUSES; inbox: the address of the web server."""

    urls: list[str]
    inbox: str
    pids: dict[str, list[int]]


@contextlib.contextmanager
def running() -> Iterator[Doubles]:
    """Run all of them meanwhile. Raises BenchError if one does not start."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="fillcast-bench-")))
        port = free_port()
        nats = [str(nats_binary()), "-js", "-sd", str(folder), "-a", "127.0.0.1", "-p", str(port)]
        nats_pid, _ = stack.enter_context(_run("nats", nats, folder, _is_nats_ready))
        kafka_pid, brokers = stack.enter_context(
            _run("kafka", _program("tests.buses.kafka_cluster"), folder, _has_line)
        )
        inbox_pid, address = stack.enter_context(
            _run("web server", _program("benchmarks.sink_receiver"), folder, _has_line)
        )
        first, *others = brokers.strip().split(",")
        yield Doubles(
            urls=[
                f"nats://127.0.0.1:{port}/BENCH",
                f"kafka://{first}/bench?" + "&".join(f"broker={one}" for one in others),
            ],
            inbox=f"http://127.0.0.1:{json.loads(address)['port']}",
            pids={"nats": [nats_pid], "kafka": [kafka_pid], "web server": [inbox_pid]},
        )


@contextlib.contextmanager
def _run(
    name: str, command: list[str], folder: Path, is_ready: Callable[[str], bool]
) -> Iterator[tuple[int, str]]:
    """Run a process; yield its id and what it has printed once it is ready."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = spawn(command, output=output, folder=ROOT, niceness=NICENESS)
    try:
        wait_until(lambda: process.poll() is not None or is_ready(log.read_text()), START_SECONDS)
        printed = log.read_text()
        if process.poll() is not None or not is_ready(printed):
            raise BenchError(f"{name} does not start: {printed[-500:]}")
        yield process.pid, printed
    finally:
        process.kill()
        process.wait()


def _program(module: str) -> list[str]:
    return [sys.executable, "-m", module]


def _is_nats_ready(printed: str) -> bool:
    return "Server is ready" in printed


def _has_line(printed: str) -> bool:
    return printed.endswith("\n")
