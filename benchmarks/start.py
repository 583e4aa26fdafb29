"""The second start of the whole stack until its last process is ready: time, CPU and memory."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import process_usage
from benchmarks.environment import own_servers
from benchmarks.results import Result, compared
from benchmarks.start_stack import APART
from config.installation import ROOT, var_folder

TARGET = 2.0  # times as fast as with processes that import everything for themselves
MOST_SECONDS, MOST_MB, MOST_SESSIONS = 6.0, 700.0, 25
MOST_ROUNDS = 7
IDLE_SECONDS = 5.0  # until memory is measured: the first rounds of all jobs have run
STOP_SECONDS = 60
POSTGRES = "postgres"  # the name of its process
BASELINE = "each process imports for itself"


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds and CPU until all were ready, memory and sessions a little later, stop."""

    seconds: float
    cpu_seconds: float
    stop_seconds: float
    mb: dict[str, float]
    sessions: int


def start(count: int) -> Result:
    """Start and stop the stack n times (at most 7), in turn with the baseline.

    Bytecode exists already, as after the first start.
    """
    folder = var_folder(os.environ) / "bench" / "start"
    folder.mkdir(parents=True, exist_ok=True)
    environ = _environ(folder)
    _run(environ)  # creates the database and writes the bytecode
    ours, theirs = [], []
    for _ in range(min(count, MOST_ROUNDS)):
        ours.append(_run(environ))
        theirs.append(_run(environ, APART))
    mb = _median_mb(ours)
    seconds = [one.seconds for one in ours]
    return compared(
        "start",
        count=1,
        seconds=seconds,
        baseline=BASELINE,
        baseline_count=1,
        baseline_seconds=[one.seconds for one in theirs],
        target=TARGET,
        also=_is_light(statistics.median(seconds), mb, ours),
        cpu_s=statistics.median(one.cpu_seconds for one in ours),
        baseline_cpu_s=statistics.median(one.cpu_seconds for one in theirs),
        stop_s=statistics.median(one.stop_seconds for one in ours),
        mb_in_all=sum(mb.values()),
        baseline_mb_in_all=sum(_median_mb(theirs).values()),
        mb=mb,
        sessions=max(one.sessions for one in ours),
    )


def _is_light(seconds: float, mb: dict[str, float], starts: list[Start]) -> bool:
    sessions = max(one.sessions for one in starts)
    return seconds <= MOST_SECONDS and sum(mb.values()) <= MOST_MB and sessions <= MOST_SESSIONS


def _environ(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        **own_servers(folder),
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
    }


def _run(environ: dict[str, str], *options: str) -> Start:
    began = time.perf_counter()
    line = [sys.executable, "-m", "benchmarks.start_stack", *options]
    with subprocess.Popen(line, cwd=ROOT, env=environ, stdout=subprocess.PIPE) as stack:
        assert stack.stdout is not None
        try:
            ready = stack.stdout.readline()
            seconds = time.perf_counter() - began
            if not ready:
                raise RuntimeError(f"The stack did not become ready; see {environ['FILLCAST_VAR']}")
            pids = _pids(stack.pid, json.loads(ready))
            cpu_seconds = sum(process_usage.cpu_seconds(pids).values())
            time.sleep(IDLE_SECONDS)
            pids = _pids(stack.pid, json.loads(ready))
            mb = process_usage.memory_mb(pids)
            sessions = process_usage.database_sessions(pids[POSTGRES])
        finally:
            stack.send_signal(signal.SIGTERM)
            stopping = time.perf_counter()
            stack.wait(STOP_SECONDS)
    return Start(seconds, cpu_seconds, time.perf_counter() - stopping, mb, sessions)


def _pids(stack: int, named: dict[str, int]) -> dict[str, list[int]]:
    """Return the ids of all processes of the stack by name, with the servers and itself."""
    servers = [pid for pid in process_usage.children_of(stack) if pid not in named.values()]
    with_children = [[pid, *process_usage.children_of(pid)] for pid in servers]
    return {
        "supervisor": [stack],
        **{name: [pid] for name, pid in named.items()},
        **{Path(f"/proc/{pids[0]}/comm").read_text().strip(): pids for pids in with_children},
    }


def _median_mb(starts: list[Start]) -> dict[str, float]:
    return {name: statistics.median(one.mb[name] for one in starts) for name in starts[0].mb}
