"""MetaTrader 4 by files: what our adapter adds to an order, and what two hundred folders cost. The
terminal is the tests' double of the expert advisor, a process of its own."""

import asyncio
import os
import signal
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from benchmarks import usage
from benchmarks.results import Result, overhead_of, percentile
from brokers.dwx.adapter import create
from brokers.messages import ConnectionSpec, OrderRequest, OrderType, Side, TimeInForce
from tests.doubles.dwx.terminal import Terminal

ADDED_MS = 30.0  # p99 of an order: files are looked at each 15 ms, and no one rings
FOLDER_MB = 0.25
LEAST_MB = 0.001  # less is the noise of the measurement
ANSWERS = ("DWX_Orders.txt", "DWX_Messages.txt")


def spec_of(name: str) -> ConnectionSpec:
    """A connection to the terminal of this folder."""
    settings = {
        "folder": name, "symbols": ["EURUSD"], "server_zone": "UTC+2", "take_seconds": 2,
        "answer_seconds": 5, "stale_seconds": 10, "settle_seconds": 0.05,
    }  # fmt: skip
    return ConnectionSpec(f"bench-{name}", "4711", "", settings, {"password": Terminal.key})


def overhead(n: int) -> Result:
    """n orders, entries and their exits in turn: from our call to the write of the command, and
    from the expert advisor's last write to our answer."""
    with tempfile.TemporaryDirectory(prefix="fillcast-bench-") as place:
        root = Path(place) / "root"
        terminal = Terminal(root, Path(place) / "broker", "alice", MaximumLotSize=1000)
        terminal.start()
        try:
            spent = time.process_time()
            took, added = asyncio.run(_orders(root, terminal.folder, n))
            cpu = time.process_time() - spent
        finally:
            terminal.kill()
    return overhead_of(
        "mt4",
        n,
        took,
        added,
        target=ADDED_MS,
        detail={
            "unit": "ms that the adapter adds to an order (p99), less is better",
            "whole_p50_ms": 1000 * percentile(took, 50),
            "cpu_ms_an_order": 1000 * cpu / n,
        },
    )


async def _orders(root: Path, folder: Path, n: int) -> tuple[list[float], list[float]]:
    adapter, spec = create(str(root)), spec_of("alice")
    await adapter.connect(spec)
    took, added, position = [], [], ""
    for number in range(n):
        left = [0.0]

        def note(_: OrderRequest, left: list[float] = left) -> None:
            left[0] = time.time()

        began = time.time()
        told = await adapter.submit(spec, _order(number, position), note)
        ended = time.time()
        # Files' times count in the file system's own ticks, some milliseconds.
        answered = max((folder / name).stat().st_mtime for name in ANSWERS)
        took.append(ended - began)
        added.append(1000 * (left[0] - began + max(0.0, ended - answered)))
        position = "" if position else told[-1].broker_position_id
    await adapter.disconnect()
    return took, added


def _order(number: int, position: str) -> OrderRequest:
    return OrderRequest(
        client_order_id=f"zbm{number:014d}0", connection_id="bench-alice", account="4711",
        symbol="EURUSD", side=Side.SELL if position else Side.BUY, order_type=OrderType.MARKET,
        time_in_force=TimeInForce.GTC, quantity=Decimal(1000), reduce_only=bool(position),
        broker_position_id=position,
    )  # fmt: skip


def memory(n: int) -> Result:
    """n folders in one process, each connected to once. Their expert advisors stand still then:
    what is measured is ours."""
    with tempfile.TemporaryDirectory(prefix="fillcast-bench-") as place:
        before, seconds, after = asyncio.run(_connected(Path(place), n))
    each = max((after - before) / n, LEAST_MB)
    return Result(
        name="mt4_memory",
        n=n,
        seconds=seconds,
        rate=n / seconds,
        p50_ms=None,
        p99_ms=None,
        baseline=None,
        ratio=each,
        target=FOLDER_MB,
        ok=each <= FOLDER_MB,
        half=each <= 2 * FOLDER_MB,
        detail={
            "unit": "MB for each folder, less is better",
            "before_mb": before,
            "connected_mb": after,
        },
    )


async def _connected(place: Path, n: int) -> tuple[float, float, float]:
    root, terminals = place / "root", []
    adapter = create(str(root))
    before, began = 0.0, time.perf_counter()
    try:
        for number in range(n + 1):  # the first one pays for what all share
            name = f"folder-{number}"
            one = Terminal(root, place / name, name)
            terminals.append(one)
            await asyncio.to_thread(one.start)
            await adapter.connect(spec_of(name))
            await adapter.instruments(spec_of(name))
            os.kill(one.pid, signal.SIGSTOP)
            if number == 0:
                before = _megabytes()
        seconds, after = time.perf_counter() - began, _megabytes()
        await adapter.disconnect()
    finally:
        for one in terminals:
            one.kill()
    return before, seconds, after


def _megabytes() -> float:
    return usage.memory_mb({"me": [os.getpid()]})["me"]
