"""MetaTrader by files: the cost of watching 200 running terminals, and the delay of an event.

All terminals are the tests' fake expert advisors, together in one process.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.results import Result
from config.installation import ROOT

EVENT_MS = 2000.0  # p99 until an event; the 200 expert advisors share one process
SHARE = 0.2  # of one processor, for watching


def watch(count: int) -> Result:
    """Measure a process that is like our workers and watches `count` terminals."""
    with tempfile.TemporaryDirectory(prefix="fillcast-bench-") as folder:
        arguments = [str(Path(folder) / "root"), str(Path(folder) / "brokers"), str(count)]
        with python("tests.fakes.dwx.many_terminals", *arguments) as farm:
            assert farm.stdout
            assert farm.stdin
            assert farm.stdout.readline() == "ready\n"
            with python("benchmarks.mt4_sessions", *arguments) as watcher:
                assert watcher.stdout
                figures: dict[str, Any] = json.loads(watcher.stdout.readline())
                watcher.communicate()
            farm.stdin.close()
            farm.wait()
    share, event_p99 = figures["watching_cpu_share"], figures["event_p99_ms"]
    return Result(
        name="mt4_watch",
        n=count,
        seconds=figures["connect_seconds"],
        rate=count / figures["connect_seconds"],
        p50_ms=figures["event_p50_ms"],
        p99_ms=event_p99,
        baseline=None,
        ratio=share,
        target=SHARE,
        ok=share <= SHARE and event_p99 <= EVENT_MS,
        half=share <= 2 * SHARE,
        detail={"unit": f"of one processor to watch {count} terminals, less is better", **figures},
    )


def python(module: str, *arguments: str) -> subprocess.Popen[str]:
    """Start `python -m module` with pipes for its input and output."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
