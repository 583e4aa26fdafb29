"""Memory of one process that holds 50 IBKR sessions and 200 MetaTrader folders at once."""

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.ibkr import tws_of
from benchmarks.mt4_watch import python
from benchmarks.results import Result

FOLDERS_A_SESSION = 4
HELD_MB = 256.0


def memory(n: int) -> Result:
    """n IBKR sessions, a gateway each, and four times as many living terminals' folders."""
    folders = FOLDERS_A_SESSION * n
    with tempfile.TemporaryDirectory(prefix="fillcast-bench-") as environment, tws_of(n) as tws:
        root = str(Path(environment) / "root")
        brokers = str(Path(environment) / "brokers")
        with python("tests.fakes.dwx.many_terminals", root, brokers, str(folders)) as farm:
            assert farm.stdout
            assert farm.stdin
            assert farm.stdout.readline() == "ready\n"
            words = [root, str(folders), str(n), *map(str, tws.ports)]
            with python("benchmarks.mixed_sessions", *words) as holder:
                assert holder.stdout
                told: dict[str, Any] = json.loads(holder.stdout.readline())
                holder.communicate()
            farm.stdin.close()
            farm.wait()
    held = told["held_mb"]
    return Result(
        name="session_worker_memory",
        n=n,
        seconds=told["connect_seconds"],
        rate=(n + folders) / told["connect_seconds"],
        p50_ms=None,
        p99_ms=None,
        baseline=None,
        ratio=held,
        target=HELD_MB,
        ok=held <= HELD_MB,
        half=held <= 2 * HELD_MB,
        detail={"unit": "MB of the process, less is better", **told},
    )
