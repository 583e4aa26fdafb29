"""Fillcast beside task queues with the same job."""

from typing import Any

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.peers.queues import QUEUE_PEERS
from benchmarks.peers.runs import Runs, measure_fillcast, measure_peer
from benchmarks.results import Result, compared
from benchmarks.trading import trade_history

TARGET = 10.0  # times the fastest of the queues, by orders a second
QUEUE_ORDERS = 200  # at most, of the queues: they are linear and slow
KILL_ORDERS = 120
USUAL_CONNECTIONS = 100  # from so many on it is a measurement, else only a test


def peers(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Compare a signal to `count` accounts by Fillcast and by task queues, a round of each in turn.

    What is not installed has a row that says why it is skipped.
    """
    environment.run(workers=2)
    with trade_history(data, count):
        ours, rows = _measured(environment, data, count)
    return _result(count, ours, rows)


def _measured(
    environment: BenchEnvironment, data: BenchData, count: int
) -> tuple[Runs, dict[str, dict[str, Any]]]:
    few = min(count, QUEUE_ORDERS)
    measured = {peer.name: Runs(few) for peer in QUEUE_PEERS}
    ours, skipped = Runs(count), dict[str, dict[str, Any]]()
    for number in range(environment.rounds):
        kills = count >= USUAL_CONNECTIONS and number == 0
        for peer in QUEUE_PEERS:
            if peer.name not in skipped:
                runs, killed = measured[peer.name], min(count, KILL_ORDERS) if kills else 0
                try:
                    measure_peer(environment, data, peer, runs, killed)
                except BenchError as error:
                    report_progress(f"  {peer.name} is skipped: {error}")
                    skipped[peer.name] = {"skipped": str(error)}
        measure_fillcast(environment, data, ours, count if kills else 0)
        rates = {name: round(runs.count / runs.seconds[-1])
                 for name, runs in {**measured, "fillcast": ours}.items()
                 if runs.seconds}  # fmt: skip
        report_progress(f"  round {number + 1}, orders/s: {rates}")
    rows = {peer.name: skipped.get(peer.name) or measured[peer.name].row() for peer in QUEUE_PEERS}
    return ours, {"fillcast": ours.row() | {"mb_an_account": ours.memory_mb}, **rows}


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
