"""The verdict after a run: whether all orders are settled, and the counters."""

import json
import sys
from dataclasses import dataclass, field
from typing import Any

import psycopg

from ops.embedded import processes
from tests.faults.chaos.fault_plan import by_kind
from tests.faults.chaos.final_signal import FinalSignal
from tests.faults.chaos.load import Load, LoadCounts
from tests.faults.chaos.outages import Outages
from tests.faults.chaos.recovery_times import RecoveryMonitor
from tests.faults.chaos.settle_wait import SettleWait
from tests.faults.chaos.stack_environment import CONNECTIONS, StackEnvironment
from tests.faults.chaos.trading_check import Trade
from tests.faults.invariants import InvariantCounts

SETTLE_SECONDS, BUSY_SECONDS, COUNT_SECONDS, PATIENCE = 60, 120, 60, 240
HURRIED = 5  # factor by which a run that need not settle waits less
PUBLISHED = "SELECT id FROM signals_signal WHERE action = 'OPEN' AND published_at IS NOT NULL"

LANES_TAKEN = "SELECT coalesce(sum(fence), 0) FROM connections_lanelease"


@dataclass(slots=True)
class Verdict:
    """The result of a run."""

    counters: dict[str, int]
    recovery: RecoveryMonitor
    load_counts: LoadCounts
    settled_s: float | None
    audit: dict[str, Any]
    trade: Trade
    last: FinalSignal
    open_at: dict[int, list[str]]
    states: dict[str, int]
    accepted: int
    refused_again: int
    restarts: dict[str, int]
    lanes_taken: int
    examples: dict[str, Any] = field(default_factory=dict)

    def as_json(self, seed: int, seconds: float) -> dict[str, Any]:
        """Return the documented result of `make chaos`, and details that explain it."""
        faults, slowest = self.recovery.faults, self.recovery.slowest
        recovery_s = self.recovery.recovery_s_max
        return {
            "ok": not any(self.counters.values()),
            "seed": seed,
            "seconds": seconds,
            "faults": len(faults),
            "in_flight_max": self.recovery.in_flight_max,
            "recovery_s_max": None if recovery_s is None else round(recovery_s, 1),
            "counters": self.counters,
            "settled_s": None if self.settled_s is None else round(self.settled_s, 1),
            "open_at": self.open_at,
            "faults_by_kind": by_kind([fault.step for fault in faults]),
            "slowest": str(slowest.step) if slowest else "",
            "kills_in_flight": [fault.in_flight for fault in faults if fault.step.kind == "kill"],
            "signals": self.load_counts.signals,
            "load": {name: getattr(self.load_counts, name) for name in LoadCounts.__slots__},
            "accepted": self.accepted,
            "refused_again": self.refused_again,
            **self.trade.as_json(),
            "last": self.last.as_json(),
            "states": self.states,
            "restarts": self.restarts,
            "lanes_taken": self.lanes_taken,
            "unread": self.audit.get("unread", []),
            "examples": self.audit.get("examples", {}),
        }


def judge(
    environment: StackEnvironment,
    recovery: RecoveryMonitor,
    load: Load,
    broken: Outages,
    *,
    hurried: bool = False,
    is_busy: bool = False,
) -> Verdict:
    """Wait until all orders are settled and all processes run, then count in both databases.

    hurried: a guard was removed, so the run may never settle. is_busy: other programs use the
    processors, so it may take twice as long.
    """
    patience = 1 / HURRIED if hurried else 1.0
    count = InvariantCounts(environment.servers.ours, environment.servers.books, dict)

    def settle() -> SettleWait:
        settling = SettleWait(environment.servers.ours, recovery, count, report_progress)
        _wait(settling.is_over, PATIENCE * patience)
        return settling

    settling = settle()
    settled_s = settling.took_s
    report_progress("not settled" if settled_s is None else f"settled after {settled_s:.1f} s")
    _wait(
        lambda: not environment.supervisor.unready() if environment.supervisor else True, PATIENCE
    )
    last = FinalSignal.publish(environment, load, settle)
    counters = _counted(environment, count, load, COUNT_SECONDS * patience)
    audit = _audit(environment)
    trade = Trade.of(environment.servers.ours, environment.servers.books, broken)
    late = settled_s is None or settled_s > (BUSY_SECONDS if is_busy else SETTLE_SECONDS)
    return Verdict(
        counters={
            **audit.get("counters", {"AUDIT": 1}),
            **{f"JOURNAL_{name}": n for name, n in counters.items()},
            "UNREAD": len(audit.get("unread", [])),
            "UNSETTLED": max(len(recovery.poll() or ()), 1) if late else 0,
            "IDLE": trade.idle,
            "SHUT_OUT": trade.shut_out,
            "LOCKED_OUT": sum(last.locked_out.values()),
        },
        recovery=recovery,
        load_counts=load.counts,
        settled_s=settled_s,
        audit=audit,
        trade=trade,
        last=last,
        open_at=settling.open_at,
        states=count.states("%"),
        accepted=count.accepted(),
        refused_again=count.refused_again(),
        restarts={
            name: child.restarts for name, child in environment.children.items() if child.restarts
        },
        lanes_taken=int(environment.servers.ours.value(LANES_TAKEN)),
    )


def _counted(
    environment: StackEnvironment, count: InvariantCounts, load: Load, seconds: float
) -> dict[str, int]:
    """Count until all counters are 0 or the time is over, and return the last count.

    The system still runs, so an order that expires at that moment is cancelled a little later.
    """
    counts: list[dict[str, int]] = []

    def is_clean() -> bool:
        counts.append(_journal(environment, count, load))
        return not any(counts[-1].values())

    _wait(is_clean, seconds)
    return counts[-1] if counts else _journal(environment, count, load)


def _journal(environment: StackEnvironment, count: InvariantCounts, load: Load) -> dict[str, int]:
    """Compare with the broker's own books. Each publication must have an order per candidate."""
    published = {row.id for row in environment.servers.ours.rows(PUBLISHED)}
    return {
        **count.against_the_journal(len(published) * CONNECTIONS),
        "PUBLICATION": len(set(load.published) - published),
    }


def _audit(environment: StackEnvironment) -> dict[str, Any]:
    done = environment.manage("audit", "--json")
    try:
        report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        report_progress(f"the audit printed nothing: {done.stderr[-500:]}")
        return {}
    return report


def _wait(condition: Any, seconds: float) -> bool:
    def answered() -> bool:
        try:
            return bool(condition())
        except psycopg.Error:
            return False

    return processes.wait_until(answered, seconds, every=1.0)


def report_progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
