"""Memory of one process with 50 IBKR sessions and 200 MetaTrader folders."""

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.ibkr import tws_of
from benchmarks.mt4_watch import python
from benchmarks.results import Result, bounded

FOLDERS_PER_SESSION = 4
TARGET_MB = 256.0


def memory(count: int) -> Result:
    """Measure `count` IBKR sessions, a gateway each, and four times as many running terminals."""
    folders = FOLDERS_PER_SESSION * count
    with tempfile.TemporaryDirectory(prefix="fillcast-bench-") as folder, tws_of(count) as tws:
        root = str(Path(folder) / "root")
        brokers = str(Path(folder) / "brokers")
        with python("tests.fakes.dwx.many_terminals", root, brokers, str(folders)) as farm:
            assert farm.stdout
            assert farm.stdin
            assert farm.stdout.readline() == "ready\n"
            arguments = [root, str(folders), str(count), *map(str, tws.ports)]
            with python("benchmarks.mixed_sessions", *arguments) as worker:
                assert worker.stdout
                figures: dict[str, Any] = json.loads(worker.stdout.readline())
                worker.communicate()
            farm.stdin.close()
            farm.wait()
    memory_mb = figures["held_mb"]
    return bounded(
        "session_worker_memory",
        count,
        memory_mb,
        target=TARGET_MB,
        seconds=figures["connect_seconds"],
        rate=(count + folders) / figures["connect_seconds"],
        detail={"unit": "MB of the process, less is better", **figures},
    )
