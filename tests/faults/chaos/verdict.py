"""After the quiet: is everybody settled, and what do the counters say?"""

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
HURRIED = 5  # so many times less patience with what need not settle
PUBLISHED = "SELECT id FROM signals_signal WHERE action = 'OPEN' AND published_at IS NOT NULL"

LANES_TAKEN = "SELECT coalesce(sum(fence), 0) FROM connections_lanelease"


@dataclass(slots=True)
class Verdict:
    """What a run came to."""

    counters: dict[str, int]
    watching: RecoveryMonitor
    tally: LoadCounts
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
        """The contract of `make chaos`, and what explains it."""
        seen, slowest = self.watching.seen, self.watching.slowest
        recovery = self.watching.recovery_s_max
        return {
            "ok": not any(self.counters.values()),
            "seed": seed,
            "seconds": seconds,
            "faults": len(seen),
            "in_flight_max": self.watching.in_flight_max,
            "recovery_s_max": None if recovery is None else round(recovery, 1),
            "counters": self.counters,
            "settled_s": None if self.settled_s is None else round(self.settled_s, 1),
            "open_at": self.open_at,
            "faults_by_kind": by_kind([one.step for one in seen]),
            "slowest": str(slowest.step) if slowest else "",
            "kills_in_flight": [one.in_flight for one in seen if one.step.kind == "kill"],
            "signals": self.tally.signals,
            "load": {name: getattr(self.tally, name) for name in LoadCounts.__slots__},
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
    stage: StackEnvironment,
    watching: RecoveryMonitor,
    load: Load,
    broken: Outages,
    *,
    hurried: bool = False,
    is_busy: bool = False,
) -> Verdict:
    """Wait until all is settled and all processes run, then count both sides.

    hurried: a guard was taken away, so that it may well never settle. is_busy: other programs use
    the processors, so that it may take twice as long.
    """
    patience = 1 / HURRIED if hurried else 1.0
    count = InvariantCounts(stage.servers.ours, stage.servers.books, dict)

    def settle() -> SettleWait:
        settling = SettleWait(stage.servers.ours, watching, count, say)
        _wait(settling.is_over, PATIENCE * patience)
        return settling

    settling = settle()
    settled_s = settling.took_s
    say("not settled" if settled_s is None else f"settled after {settled_s:.1f} s")
    _wait(lambda: not stage.supervisor.unready() if stage.supervisor else True, PATIENCE)
    last = FinalSignal.publish(stage, load, settle)
    counters = _counted(stage, count, load, COUNT_SECONDS * patience)
    audit = _audit(stage)
    trade = Trade.of(stage.servers.ours, stage.servers.books, broken)
    late = settled_s is None or settled_s > (BUSY_SECONDS if is_busy else SETTLE_SECONDS)
    return Verdict(
        counters={
            **audit.get("counters", {"AUDIT": 1}),
            **{f"JOURNAL_{name}": n for name, n in counters.items()},
            "UNREAD": len(audit.get("unread", [])),
            "UNSETTLED": max(len(watching.look() or ()), 1) if late else 0,
            "IDLE": trade.idle,
            "SHUT_OUT": trade.shut_out,
            "LOCKED_OUT": sum(last.locked_out.values()),
        },
        watching=watching,
        tally=load.tally,
        settled_s=settled_s,
        audit=audit,
        trade=trade,
        last=last,
        open_at=settling.open_at,
        states=count.states("%"),
        accepted=count.accepted(),
        refused_again=count.refused_again(),
        restarts={name: one.restarts for name, one in stage.children.items() if one.restarts},
        lanes_taken=int(stage.servers.ours.value(LANES_TAKEN)),
    )


def _counted(
    stage: StackEnvironment, count: InvariantCounts, load: Load, seconds: float
) -> dict[str, int]:
    """Count until all is 0, and return the last count: the system lives, and an entry whose time is
    over the moment after is cancelled then."""
    found: list[dict[str, int]] = []

    def is_clean() -> bool:
        found.append(_journal(stage, count, load))
        return not any(found[-1].values())

    _wait(is_clean, seconds)
    return found[-1] if found else _journal(stage, count, load)


def _journal(stage: StackEnvironment, count: InvariantCounts, load: Load) -> dict[str, int]:
    """Count against the broker's own books. Every successful publication has an order for
    each of its candidates."""
    there = {row.id for row in stage.servers.ours.rows(PUBLISHED)}
    return {
        **count.against_the_journal(len(there) * CONNECTIONS),
        "PUBLICATION": len(set(load.published) - there),
    }


def _audit(stage: StackEnvironment) -> dict[str, Any]:
    done = stage.manage("audit", "--json")
    try:
        report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        say(f"the audit printed nothing: {done.stderr[-500:]}")
        return {}
    return report


def _wait(what: Any, seconds: float) -> bool:
    def asked() -> bool:
        try:
            return bool(what())
        except psycopg.Error:
            return False

    return processes.wait_until(asked, seconds, every=1.0)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
