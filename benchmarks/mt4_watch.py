"""MetaTrader by files: what a process costs that watches 200 living terminals, and how soon it
hears what happens at one. Their expert advisors are the tests' double, together in one process."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.results import Result
from config.installation import ROOT

EVENT_MS = 2000.0  # p99 until an event; the 200 experts share a process, and one must answer
SHARE = 0.2  # of one processor, for watching


def watch(n: int) -> Result:
    """A process as our workers are, which holds n terminals and watches them."""
    with tempfile.TemporaryDirectory(prefix="fillcast-bench-") as environment:
        where = [str(Path(environment) / "root"), str(Path(environment) / "brokers"), str(n)]
        with python("tests.fakes.dwx.many_terminals", *where) as farm:
            assert farm.stdout
            assert farm.stdin
            assert farm.stdout.readline() == "ready\n"
            with python("benchmarks.mt4_sessions", *where) as holder:
                assert holder.stdout
                told: dict[str, Any] = json.loads(holder.stdout.readline())
                holder.communicate()
            farm.stdin.close()
            farm.wait()
    share, heard = told["watching_cpu_share"], told["heard_p99_ms"]
    return Result(
        name="mt4_watch",
        n=n,
        seconds=told["connect_seconds"],
        rate=n / told["connect_seconds"],
        p50_ms=told["heard_p50_ms"],
        p99_ms=heard,
        baseline=None,
        ratio=share,
        target=SHARE,
        ok=share <= SHARE and heard <= EVENT_MS,
        half=share <= 2 * SHARE,
        detail={"unit": f"of one processor to watch {n} terminals, less is better", **told},
    )


def python(module: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", module, *words]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
