"""MetaTrader 5: what our adapter adds to the package's own time, how long a poll takes, and what a
hanging call costs. The terminal is the tests' fake; as always, the package has its own process.
"""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from benchmarks import process_usage
from benchmarks.results import Result, overhead_of, percentile
from brokers.base import OutcomeUnknown
from brokers.mt5.adapter import Mt5Adapter, create
from brokers.types import ConnectionSpec, OrderRequest, OrderType, Side, TimeInForce
from tests.fakes.mt5.fake_terminal import FakeTerminal

ADDED_MS = 10.0  # p99 of an order
GAP_MS = 250.0  # the event loop's longest pause while the package blocks its interpreter
FREEZE_SECONDS = 2.0
FEW = 50  # orders in the history that a poll reads
SPEC = ConnectionSpec(
    "bench",
    "1001",
    settings={"server": "Double-Demo", "server_timezone": "UTC", "reply_timeout": 1.0},
    credentials={"password": "secret"},
)


def overhead(count: int) -> Result:
    """Measure orders, entries and their exits in turn: from our call to the server's answer,
    without the time that was spent in the package.
    """
    venue = FakeTerminal()
    try:
        venue.configure_account(balance=1e9)
        with venue.installed():
            took, added, more = asyncio.run(_measure(venue, count))
    finally:
        venue.stop()
    gap = more["longest_gap_ms"]
    return overhead_of(
        "mt5",
        count,
        took,
        added,
        target=ADDED_MS,
        is_well_otherwise=gap <= GAP_MS,
        detail={"unit": "ms that the adapter adds to an order (p99), less is better", **more},
    )


async def _measure(
    venue: FakeTerminal, count: int
) -> tuple[list[float], list[float], dict[str, Any]]:
    adapter = create()
    await adapter.connect(SPEC)
    await _orders(adapter, FEW, first=count)
    polls = [await _timed(_poll(adapter)) for _ in range(min(count, 200))]
    began = len(venue.state()["calls"])
    took = await _orders(adapter, count)
    await adapter.account(SPEC)  # the journal has a call's time only after the next call
    journal = venue.state()
    calls = _calls_of_orders(journal["calls"][began:], journal["spent"][began:], count)
    added = [1000 * (seconds - sum(spent)) for seconds, spent in zip(took, calls, strict=True)]
    more = {
        "package_p50_ms": 1000 * percentile([sum(spent) for spent in calls], 50),
        "package_calls_p50": percentile([len(spent) for spent in calls], 50),
        "poll_p50_ms": 1000 * percentile(polls, 50),
        "poll_p99_ms": 1000 * percentile(polls, 99),
        "process_mb": _memory_mb(adapter),
        "longest_gap_ms": await _longest_gap(adapter, venue),
        "hung_to_next_answer_ms": await _answer_after_hang(adapter, venue),
    }
    await adapter.disconnect()
    return took, added, more


async def _orders(adapter: Mt5Adapter, count: int, first: int = 0) -> list[float]:
    took, position = [], ""
    for number in range(first, first + count):
        request = _order(number, position)
        began = time.perf_counter()
        reports = await adapter.submit(SPEC, request, lambda _: None)
        took.append(time.perf_counter() - began)
        position = "" if position else reports[-1].broker_position_id
    return took


def _order(number: int, position: str = "") -> OrderRequest:
    return OrderRequest(
        client_order_id=f"zbm{number:014d}0", connection_id="bench", account="1001",
        symbol="EURUSD", side=Side.SELL if position else Side.BUY, order_type=OrderType.MARKET,
        time_in_force=TimeInForce.GTC, quantity=Decimal(1000), reduce_only=bool(position),
        broker_position_id=position,
    )  # fmt: skip


def _calls_of_orders(calls: Sequence[str], spent: Sequence[float], count: int) -> list[list[float]]:
    """Return the package's seconds for each call of each order.

    An order starts with `account_info`, which is called twice more, before and after it is sent.
    """
    begins = [at for at, name in enumerate(calls) if name == "account_info"][::3]
    return [list(spent[a:b]) for a, b in pairwise(begins[: count + 1])]


async def _poll(adapter: Mt5Adapter) -> None:
    await adapter.fills_since(SPEC, datetime.now(UTC) - timedelta(minutes=1))
    await adapter.open_orders(SPEC)


async def _timed(call: Awaitable[Any]) -> float:
    began = time.perf_counter()
    await call
    return time.perf_counter() - began


async def _longest_gap(adapter: Mt5Adapter, venue: FakeTerminal) -> float:
    """Return the longest pause of this process's event loop in ms while an order blocks the
    package.
    """
    venue.fault("order_send", "freeze", seconds=FREEZE_SECONDS)
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            longest = max(longest, await _timed(asyncio.sleep(0.005)))

    beat_task = asyncio.create_task(beat())
    with suppress(OutcomeUnknown):
        await adapter.submit(SPEC, _order(10**9), lambda _: None)
    beat_task.cancel()
    return 1000 * longest


async def _answer_after_hang(adapter: Mt5Adapter, venue: FakeTerminal) -> float:
    """Return the ms from the time-out of a hanging order to the next answer, by a new process."""
    venue.fault("order_send", "silent")
    with suppress(OutcomeUnknown):
        await adapter.submit(SPEC, _order(10**9 + 1), lambda _: None)
    return 1000 * await _timed(adapter.positions(SPEC))


def _memory_mb(adapter: Mt5Adapter) -> float:
    pid = adapter.calls.library.pid
    assert pid is not None
    return process_usage.memory_mb({"package": [pid]})["package"]
