"""Where the Python of a worker for entries spends its time while it trades: `make flame`.

py-spy samples the process from outside, a hundred times a second, and counts a thread only while it
has the interpreter. The stacks are stored in `bench/flame-entries.folded` of the installation's
folder; `flame_graph` draws them.
"""

import shutil
import subprocess
import time

from benchmarks import fanout, process_usage, sustained
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.flame_graph import read, shares
from benchmarks.results import Result

FILE, WORKER = "flame-entries.folded", "execution-1"
ORDERS, RATE = 10_000, 200
PARTS = ("execution/submission", "execution/reports", "execution/dispatch", "brokers/paper",
         "execution/monitoring", "execution/runtime", "celery", "kombu", "psycopg")  # fmt: skip


def flame(environment: BenchEnvironment, data: BenchData, seconds: int) -> Result:
    """Sample the worker for so many seconds of sustained trading."""
    spy = shutil.which("py-spy")
    if spy is None:
        raise BenchError("py-spy is not installed: use `make flame`.")
    environment.run(workers=2)
    target = environment.stack.folder.parent / FILE
    with fanout.trade_history(environment, data, sustained.accounts_of(ORDERS)):
        meter = process_usage.Meter(environment.pids)
        sustained.orders(environment, data, ORDERS, meter)  # warm-up
        (pid,) = environment.pids()[WORKER]
        command = [
            spy, "record", "--pid", str(pid), "--duration", str(seconds), "--rate", str(RATE),
            "--gil", "--format", "raw", "--output", str(target),
        ]  # fmt: skip
        began, orders = time.monotonic(), 0
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as spying:
            while spying.poll() is None:
                environment.reset()
                fanout.plan_statements(environment, data, sustained.accounts_of(ORDERS))
                sustained.orders(environment, data, ORDERS, meter)
                orders += ORDERS
        took = time.monotonic() - began
        if spying.returncode:
            raise BenchError(f"py-spy ended with {spying.returncode}; it needs to trace processes")
    stacks = read(target)
    return Result(
        name="flame",
        n=seconds,
        seconds=took,
        rate=orders / took,
        p50_ms=None,
        p99_ms=None,
        baseline=None,
        ratio=1.0,
        target=1.0,
        ok=True,
        half=True,
        detail={"samples": sum(stacks.values()), "shares": shares(stacks, PARTS)},
    )
