"""MetaTrader by files: what our adapter adds to an order, and what two hundred folders cost.

The terminal is the tests' fake expert advisor, in a process of its own.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from benchmarks import process_usage
from benchmarks.results import Result, bounded, overhead_of, percentile
from brokers.dwx import mt5_adapter
from brokers.dwx.adapter import DwxAdapter, create
from brokers.types import ConnectionSpec, OrderRequest, OrderType, Side, TimeInForce
from config.installation import ROOT
from tests.fakes.dwx.terminal import Terminal

ADDED_MS = 30.0  # p99 of an order; files are polled, since there is no notification
FOLDER_MB = 0.25
LEAST_MB = 0.001  # less is the noise of the measurement


def spec_of(name: str, is_5: bool = False) -> ConnectionSpec:
    """Return a connection to the terminal of this folder."""
    settings = {
        "folder": name, "symbols": ["EURUSD"], "server_zone": "UTC+2", "take_seconds": 2,
        "answer_seconds": 5, "stale_seconds": 10, "settle_seconds": 0.05,
    }  # fmt: skip
    more = {"hedging": True} if is_5 else {}
    return ConnectionSpec(f"bench-{name}", "4711", "", settings | more, {"password": Terminal.key})


def overhead(count: int) -> Result:
    """Measure orders at a MetaTrader 4, entries and their exits in turn: from our call to our
    answer, without the time that the expert advisor took for its commands.
    """
    return _overhead("mt4", count, is_5=False)


def overhead_5(count: int) -> Result:
    """Measure the same at a MetaTrader 5 by files."""
    return _overhead("mt5_dwx", count, is_5=True)


def _overhead(name: str, count: int, *, is_5: bool) -> Result:
    with tempfile.TemporaryDirectory(prefix="fillcast-bench-") as folder:
        root = Path(folder) / "root"
        adapter = mt5_adapter.create(str(root)) if is_5 else create(str(root))
        with _advisor(root, Path(folder) / "broker", is_5) as advisor:
            cpu_before = time.process_time()
            times = asyncio.run(_orders(adapter, spec_of("alice", is_5), count))
            cpu = time.process_time() - cpu_before
            commands_spent = advisor.spent()
    took, added, commands = [], [], 0
    for began, ended in times:
        delays = [seconds for at, seconds in commands_spent if began <= at < ended]
        took.append(ended - began)
        added.append(1000 * (ended - began - sum(delays)))
        commands += len(delays)
    return overhead_of(
        name,
        count,
        took,
        added,
        target=ADDED_MS,
        detail={
            "unit": "ms that the adapter adds to an order (p99), less is better",
            "commands_an_order": commands / count,
            "whole_p50_ms": 1000 * percentile(took, 50),
            "cpu_ms_an_order": 1000 * cpu / count,
        },
    )


class _ExpertAdvisor:
    """The terminal's process (benchmarks/dwx_fake.py)."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        assert self._read_line() == "ready"

    def spent(self) -> list[tuple[float, float]]:
        """Return when it read each command, and how many seconds it took."""
        assert self._process.stdin
        self._process.stdin.write("spent\n")
        self._process.stdin.flush()
        return [(began, seconds) for began, seconds in json.loads(self._read_line())]

    def _read_line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


@contextmanager
def _advisor(root: Path, broker: Path, is_5: bool) -> Iterator[_ExpertAdvisor]:
    folder = Terminal(root, broker, "alice", is_5, MaximumLotSize=1000).folder
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.dwx_fake", str(folder), str(broker)], cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield _ExpertAdvisor(process)
    finally:
        process.communicate(timeout=20)


async def _orders(
    adapter: DwxAdapter, spec: ConnectionSpec, count: int
) -> list[tuple[float, float]]:
    """Return when each order was submitted and when it was answered."""
    await adapter.connect(spec)
    times, position = [], ""
    for number in range(count):
        request, began = _order(number, position), time.perf_counter()
        reports = await adapter.submit(spec, request, lambda _: None)
        times.append((began, time.perf_counter()))
        position = "" if position else reports[-1].broker_position_id
    await adapter.disconnect()
    return times


def _order(number: int, position: str) -> OrderRequest:
    return OrderRequest(
        client_order_id=f"zbm{number:014d}0", connection_id="bench-alice", account="4711",
        symbol="EURUSD", side=Side.SELL if position else Side.BUY, order_type=OrderType.MARKET,
        time_in_force=TimeInForce.GTC, quantity=Decimal(1000), reduce_only=bool(position),
        broker_position_id=position,
    )  # fmt: skip


def memory(count: int) -> Result:
    """Measure `count` folders in one process, each connected once. The expert advisors are stopped
    afterwards, so that only our part is measured.
    """
    with tempfile.TemporaryDirectory(prefix="fillcast-bench-") as folder:
        before, seconds, after = asyncio.run(_connected(Path(folder), count))
    each = max((after - before) / count, LEAST_MB)
    return bounded(
        "mt4_memory",
        count,
        each,
        target=FOLDER_MB,
        seconds=seconds,
        rate=count / seconds,
        detail={
            "unit": "MB for each folder, less is better",
            "before_mb": before,
            "connected_mb": after,
        },
    )


async def _connected(folder: Path, count: int) -> tuple[float, float, float]:
    root, terminals = folder / "root", []
    adapter = create(str(root))
    before, began = 0.0, time.perf_counter()
    try:
        for number in range(count + 1):  # the first one pays for what all share
            name = f"folder-{number}"
            terminal = Terminal(root, folder / name, name)
            terminals.append(terminal)
            await asyncio.to_thread(terminal.start)
            await adapter.connect(spec_of(name))
            await adapter.instruments(spec_of(name))
            os.kill(terminal.pid, signal.SIGSTOP)
            if number == 0:
                before = _megabytes()
        seconds, after = time.perf_counter() - began, _megabytes()
        await adapter.disconnect()
    finally:
        for terminal in terminals:
            terminal.kill()
    return before, seconds, after


def _megabytes() -> float:
    return process_usage.memory_mb({"me": [os.getpid()]})["me"]
