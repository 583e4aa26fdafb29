"""The stack's options in the demo: market clock, faster schedules, processes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from common.clocks import MarketClock, machine_time
from config.env import Settings
from demo.accounts import DAY
from ops.embedded.processes import HAS_PROC, birth
from ops.stack.process import ProcessSpec
from ops.stack.stack import all_processes

START_TIME = DAY.replace(hour=12, minute=25)  # by then all accounts should be tested and compared
POLL_SECONDS = 1
TYPICAL_START, SHORTEST_LEAD, LONGEST_LEAD, SHARE = 2.0, 8.0, 60.0, 14.0

# Machine seconds between two runs of a task, in place of the usual minutes.
TASK_SECONDS: Mapping[str, float] = {
    "execution.watch_positions": 1,
    "execution.reconcile": 8,
    "connections.refresh_accounts": 5,
    "analytics.compute_daily": 30,
    "analytics.compute_records": 20,
    "analytics.verify_records": 60,
}


def lead_seconds() -> float:
    """Estimate the machine seconds until the processes have tested all accounts.

    The estimate follows from the start time of this process: the seven others share the cores.
    """
    born = birth(os.getpid()) if HAS_PROC else None
    took = machine_time() - int(born) / os.sysconf("SC_CLK_TCK") if born else TYPICAL_START
    return min(LONGEST_LEAD, SHORTEST_LEAD + SHARE * took / (os.cpu_count() or 1))


def clock_in(lead_seconds: float, speed: float) -> MarketClock:
    """Return a market clock that reaches START_TIME after `lead_seconds` of machine time."""
    return MarketClock(START_TIME, datetime.now(UTC) + timedelta(seconds=lead_seconds), speed)


def demo_processes(settings: Settings) -> Sequence[ProcessSpec]:
    """Return the stack's processes, with a beat at the demo's pace."""
    scheduler = ("--scheduler", "demo.paced_scheduler:PacedScheduler")
    return [
        replace(child, command=(*child.command, *scheduler)) if child.name == "beat" else child
        for child in all_processes(settings)
    ]
