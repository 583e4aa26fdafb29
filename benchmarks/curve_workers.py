"""Sustained trading with several workers for entries, and which resource ends it."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import fanout, process_usage, sustained
from benchmarks.data import BenchData
from benchmarks.environment import EXECUTION, BenchEnvironment

ORDERS = 10_000  # of each round
FULL = 0.85  # of a core: a process that uses more has no time left
IDLE_CORES = 0.1  # of all cores: less is left only if they are full


def measure(environment: BenchEnvironment, data: BenchData, workers: int) -> dict[str, Any]:
    """Return the rate with so many workers, who used how much of a core, and the limit."""
    environment.run(workers=workers)
    with fanout.trade_history(environment, data, sustained.accounts_of(ORDERS)):
        meter = process_usage.Meter(environment.pids)
        sustained.orders(environment, data, ORDERS, process_usage.Meter(environment.pids))
        environment.reset()
        took, shares = [], []
        for _ in range(environment.rounds):
            fanout.plan_statements(environment, data, sustained.accounts_of(ORDERS))
            usage = Usage(environment)
            took.append(sustained.orders(environment, data, ORDERS, meter))
            shares.append(usage.shares())
            environment.reset()
    middle = sorted(range(len(took)), key=took.__getitem__)[len(took) // 2]
    share = shares[middle]
    each = meter.us_each
    return {
        "seconds": took[middle],
        "us_an_order": 1e6 * took[middle] / ORDERS,
        "orders_a_second": ORDERS / took[middle],
        "cpu_us": meter.us_in_all,
        "cpu_us_postgres": each.get("postgres", 0.0),
        "cpu_us_entries": sum(us for name, us in each.items() if name.startswith(EXECUTION)),
        "cores": share,
        "limit": limit_of(share, os.cpu_count() or 1),
    }


class Usage:
    """What processes and the whole machine have used of its cores since it was made."""

    def __init__(self, environment: BenchEnvironment) -> None:
        self._environment = environment
        self._began = time.monotonic()
        self._idle = idle_seconds()
        self._used = self._read()

    def shares(self) -> dict[str, float]:
        """Return cores by what used them. idle: left over; other: not ours."""
        took = time.monotonic() - self._began
        used = self._read()
        spent = {name: (s - self._used.get(name, 0.0)) / took for name, s in used.items()}
        backends = {name: share for name, share in spent.items() if name.startswith("backend ")}
        ours = {name: share for name, share in spent.items() if name not in backends}
        workers = [share for name, share in ours.items() if name.startswith(EXECUTION)]
        idle = (idle_seconds() - self._idle) / took
        ours["entries"] = sum(workers)
        for name in [name for name in ours if name.startswith(EXECUTION)]:
            del ours[name]
        cores = os.cpu_count() or 1
        return {
            **{name: round(share, 3) for name, share in ours.items() if share > 0.005},
            "busiest_worker": round(max(workers, default=0.0), 3),
            "busiest_session": round(max(backends.values(), default=0.0), 3),
            "idle": round(idle, 3),
            "other": round(max(cores - idle - sum(ours.values()), 0.0), 3),
        }

    def _read(self) -> dict[str, float]:
        pids = {**self._environment.pids(), "publisher": [process_usage.me()]}
        # The first one is their parent, with which those that have ended count.
        sessions = {f"backend {pid}": [pid] for pid in pids["postgres"][1:]}
        return process_usage.run_seconds({**pids, **sessions})


def idle_seconds() -> float:
    """Return for how long all cores together have been idle since the machine's start."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return (int(fields[4]) + int(fields[5])) / process_usage.TICK


def limit_of(cores: Mapping[str, float], count: int) -> str:
    """Name the resource that is used up. cores: by what used them; count: the machine's."""
    if cores["idle"] <= IDLE_CORES * count:
        parts = {"PostgreSQL": cores.get("postgres", 0.0), "entries": cores["entries"],
                 "the publisher": cores.get("publisher", 0.0),
                 "other programs": cores.get("other", 0.0)}  # fmt: skip
        named = ", ".join(f"{name} {share:.2f}" for name, share in parts.items() if share >= 0.05)
        return f"all {count} cores: {named}"
    if cores["busiest_worker"] >= FULL:
        return "the interpreter of a worker for entries"
    if cores.get("publisher", 0.0) >= FULL:
        return "the publisher"
    if cores["busiest_session"] >= FULL:
        return "one session of PostgreSQL"
    return "waiting: commits, locks of accounts, messages"
