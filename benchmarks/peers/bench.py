"""Fillcast beside task queues with the same job, beside a bot and beside a trading engine."""

from collections.abc import Callable
from typing import Any

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.peers import freqtrade_bot, nautilus
from benchmarks.peers.queue_runs import measure_fillcast, measure_peer
from benchmarks.peers.queues import QUEUE_PEERS
from benchmarks.peers.sides import Runs
from benchmarks.results import Result, compared
from benchmarks.trading import trade_history

TARGET = 10.0  # times the fastest of the queues, by orders a second
QUEUE_ORDERS = 200  # at most, of the queues: they are linear and slow
KILL_ORDERS = 120
USUAL_CONNECTIONS = 100  # from so many on it is a measurement, else only a test
FEW_ORDERS, ONE_BOT, SHORT_SECONDS = 200, 1, 1.0


def peers(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Compare a signal to `count` accounts by Fillcast and by task queues, a round of each in turn.

    What is not installed has a row that says why it is skipped.
    """
    environment.run(workers=2)
    is_usual = count >= USUAL_CONNECTIONS
    with trade_history(environment, data, count):
        rows, ours = _queues(environment, data, count, is_usual)
    rows["freqtrade"] = _row(
        freqtrade_bot.measure if is_usual else lambda: freqtrade_bot.measure(ONE_BOT, SHORT_SECONDS)
    )
    rows["nautilus"] = _row(nautilus.measure if is_usual else lambda: nautilus.measure(FEW_ORDERS))
    return _result(count, ours, rows)


def _queues(
    environment: BenchEnvironment, data: BenchData, count: int, is_usual: bool
) -> tuple[dict[str, dict[str, Any]], Runs]:
    """Return the rows of the queues and of Fillcast, and what was measured of Fillcast."""
    few = min(count, QUEUE_ORDERS)
    measured = {peer.name: Runs(few) for peer in QUEUE_PEERS}
    ours, skipped = Runs(count), dict[str, dict[str, Any]]()
    for number in range(environment.rounds):
        kills = is_usual and number == 0
        for peer in QUEUE_PEERS:
            if peer.name not in skipped:
                runs, killed = measured[peer.name], min(count, KILL_ORDERS) if kills else 0
                try:
                    measure_peer(environment, data, peer, runs, killed)
                except BenchError as error:
                    report_progress(f"  {peer.name} is skipped: {error}")
                    skipped[peer.name] = {"skipped": str(error)}
        measure_fillcast(environment, data, ours, count if kills else 0)
        _report(number, {**measured, "fillcast": ours})
    rows = {peer.name: skipped.get(peer.name) or measured[peer.name].row() for peer in QUEUE_PEERS}
    return {"fillcast": ours.row() | {"mb_an_account": ours.memory_mb}, **rows}, ours


def _report(number: int, measured: dict[str, Runs]) -> None:
    rates = [
        f"{name} {runs.count / runs.seconds[-1]:,.0f}"
        for name, runs in measured.items()
        if runs.seconds
    ]
    report_progress(f"  round {number + 1}, orders/s: {', '.join(rates)}")


def _row(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a peer's measurement states, or why it is skipped."""
    try:
        return measure()
    except BenchError as error:
        report_progress(f"  skipped: {error}")
        return {"skipped": str(error)}


def _result(count: int, ours: Runs, rows: dict[str, dict[str, Any]]) -> Result:
    """Compare Fillcast with the fastest queue that could be measured; by CPU with the cheapest."""
    queues = {
        peer.name: rows[peer.name] for peer in QUEUE_PEERS if "skipped" not in rows[peer.name]
    }
    if not queues:
        raise BenchError(f"no queue could be measured: {rows}")
    fastest = max(queues, key=lambda name: queues[name]["orders_s"])
    return compared(
        "peers", count=count, seconds=ours.seconds,
        baseline=f"the fastest of the task queues with a plain task for each account: {fastest}",
        baseline_count=queues[fastest]["n"], baseline_seconds=queues[fastest]["rounds_s"],
        target=TARGET,
        cpu_ratio=min(row["cpu_us_an_order"] for row in queues.values()) / ours.meter.us_in_all,
        peers=rows,
    )  # fmt: skip
