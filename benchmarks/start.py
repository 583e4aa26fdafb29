"""The second start of the whole stack until its last process is ready: time, CPU and memory."""

import os
import statistics
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks import process_usage
from benchmarks.environment import own_servers
from benchmarks.programs import Program
from benchmarks.results import Result, compared
from benchmarks.stack_program import APART
from config.installation import var_folder

TARGET = 2.0  # times as fast as with processes that import everything for themselves
MOST_SECONDS, MOST_MB = 4.0, 800.0
MOST_ROUNDS = 7
IDLE_SECONDS = 5.0  # until memory is measured: the first rounds of all jobs have run
BASELINE = "each process imports for itself"


class Start(NamedTuple):
    """One start: seconds until all were ready, memory a little later."""

    seconds: float
    mb: dict[str, float]


def start(count: int) -> Result:
    """Start and stop the stack `count` times (at most 7), in turn with the baseline."""
    folder = var_folder(os.environ) / "bench" / "start"
    folder.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, **own_servers(folder), "PYTHONDONTWRITEBYTECODE": "",
               "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}  # fmt: skip
    _run(environ)  # creates the database and writes the bytecode
    ours, theirs = [], []
    for _ in range(min(count, MOST_ROUNDS)):
        ours.append(_run(environ))
        theirs.append(_run(environ, APART))
    mb, seconds = _median_mb(ours), [one.seconds for one in ours]
    in_all = sum(mb.values())
    return compared(
        "start", count=1, seconds=seconds, baseline=BASELINE, baseline_count=1,
        baseline_seconds=[one.seconds for one in theirs], target=TARGET,
        also=statistics.median(seconds) <= MOST_SECONDS and in_all <= MOST_MB,
        mb_in_all=in_all, baseline_mb_in_all=sum(_median_mb(theirs).values()), mb=mb,
    )  # fmt: skip


def _run(environ: dict[str, str], *options: str) -> Start:
    began = time.perf_counter()
    with Program("benchmarks.stack_program", *options, env=environ) as stack:
        named = stack.ask()
        seconds = time.perf_counter() - began
        time.sleep(IDLE_SECONDS)
        return Start(seconds, process_usage.memory_mb(_pids(stack.pid, named)))


def _pids(stack: int, named: dict[str, int]) -> dict[str, list[int]]:
    servers = [pid for pid in process_usage.children_of(stack) if pid not in named.values()]
    with_children = [[pid, *process_usage.children_of(pid)] for pid in servers]
    return {
        "supervisor": [stack],
        **{name: [pid] for name, pid in named.items()},
        **{Path(f"/proc/{pids[0]}/comm").read_text().strip(): pids for pids in with_children},
    }


def _median_mb(starts: list[Start]) -> dict[str, float]:
    return {name: statistics.median(one.mb[name] for one in starts) for name in starts[0].mb}
