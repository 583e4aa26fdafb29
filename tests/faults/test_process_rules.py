"""Rules for every process, recorded inside real processes at work."""

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ops.stack.process import ProcessSpec
from tests.faults.environment import FaultEnvironment

pytestmark = [pytest.mark.faults]
LEASE_MS = 4_000
SWEEPS = ("execution.reconcile", "execution.audit", "connections.refresh_accounts")
SWEEP_SECONDS = 3.0
FIRST_SIGNAL = "SELECT min(id) FROM signals_signal"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    record = tmp_path / "record"
    record.touch()
    return record


def start_recorded(environment: FaultEnvironment, record: Path) -> None:
    """Start every kind of trading process, each with the call recorder."""
    env: dict[str, Any] = {"CALL_RECORD": str(record)}
    workers = [
        environment.fleet.worker(
            name, name, wait=False, imports="tests.faults.call_recorder", **env
        )
        for name in ("execution", "exits", "maintenance")
    ]
    line = (sys.executable, "-m", "tests.faults.call_recorder", "prices")
    trade = {"FILLCAST_DB_ROLE": "trade", **env}
    prices = environment.fleet.start(ProcessSpec("prices", line, env=trade))
    environment.fleet.wait_for_lease(*workers, prices)


@pytest.mark.quick
def test_no_transaction_spans_broker_calls_or_outlives_a_lease(
    environment: FaultEnvironment, record: Path
) -> None:
    start_recorded(environment, record)
    environment.broker(silent_after=True)
    environment.quote()
    (first,) = environment.operator.do(
        "publish", feed=50
    )  # submit, and find_order for lost answers
    environment.settle()
    environment.broker(silent_after=False)
    environment.operator.do("publish", action="MODIFY", refers_to=first, sl="1.096")
    environment.operator.do("publish", feed=50, order_type="LIMIT", open_price="1.05", sl="1.04")
    environment.wait(lambda: environment.count.states().get("SUBMITTED") == 50, "they do not rest")
    working = environment.ours.rows("SELECT id FROM execution_order WHERE status = 'SUBMITTED'")
    environment.operator.do("cancel", orders=[row.id for row in working])
    # Before the targets are reached: a closed position has no levels to move.
    environment.wait(lambda: "modify" in calls(record), "no level was moved")
    environment.quote(bid="1.11100", ask="1.11110")  # the broker's targets: events, acknowledge
    environment.ours.rows("UPDATE connections_accountsnapshot SET read_at = '2020-01-01'")
    expected = {"submit_many", "find_order", "modify", "cancel", "events", "acknowledge",
              "positions", "journal"}  # fmt: skip
    sent_at = float("-inf")

    def is_called(name: str) -> bool:
        """Also send the sweeps repeatedly, as beat does: one skips busy accounts."""
        nonlocal sent_at
        if time.monotonic() - sent_at > SWEEP_SECONDS:
            sent_at = time.monotonic()
            for sweep in SWEEPS:
                environment.operator.do("send", name=sweep, arguments=[], queue="maintenance")
        return name in calls(record)

    for name in sorted(expected):
        environment.wait(partial(is_called, name), f"{name} was never called", 60)
    inside = {name: depths for name, depths in calls(record).items() if depths != {0}}
    assert inside == {}
    sessions = [line.split()[1:] for line in lines(record, "session")]
    assert len(sessions) >= 8  # several threads of four processes
    for thread, *limits in sessions:
        assert all(0 < int(limit) < LEASE_MS for limit in limits), thread


def lines(record: Path, kind: str) -> list[str]:
    return [line for line in record.read_text().splitlines() if line.startswith(f"{kind} ")]


def calls(record: Path) -> dict[str, set[int]]:
    """Return the numbers of open transactions in which each call was made."""
    depths: dict[str, set[int]] = {}
    for line in lines(record, "call"):
        _, name, depth = line.split()
        depths.setdefault(name, set()).add(int(depth))
    return depths
