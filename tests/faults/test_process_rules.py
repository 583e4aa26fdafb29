"""What every process does all the time, seen from inside real ones on the real ways."""

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ops.stack.process import ProcessSpec
from tests.faults.environment import FaultEnvironment

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180, func_only=True)]
LEASE_MS = 4_000
SWEEPS = ("execution.reconcile", "execution.audit", "connections.refresh_accounts")
SWEEP_SECONDS = 3.0
FIRST_SIGNAL = "SELECT min(id) FROM signals_signal"


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    seen = tmp_path / "seen"
    seen.touch()
    return seen


def watched(environment: FaultEnvironment, seen: Path) -> None:
    """Every kind of trading process, each watched from inside."""
    env: dict[str, Any] = {"WATCHING": str(seen)}
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
    environment: FaultEnvironment, seen: Path
) -> None:
    watched(environment, seen)
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
    resting = environment.ours.rows("SELECT id FROM execution_order WHERE status = 'SUBMITTED'")
    environment.operator.do("cancel", orders=[row.id for row in resting])
    # Before the targets are hit: what is closed has no level that could be moved.
    environment.wait(lambda: "modify" in calls(seen), "no level was moved")
    environment.quote(bid="1.11100", ask="1.11110")  # the broker's targets: events, acknowledge
    environment.ours.rows("UPDATE connections_accountsnapshot SET read_at = '2020-01-01'")
    wanted = {"submit_many", "find_order", "modify", "cancel", "events", "acknowledge",
              "positions", "journal"}  # fmt: skip
    sent_at = float("-inf")

    def is_called(name: str) -> bool:
        """Meanwhile sweeps come as beat sends them: one leaves accounts out that are busy."""
        nonlocal sent_at
        if time.monotonic() - sent_at > SWEEP_SECONDS:
            sent_at = time.monotonic()
            for sweep in SWEEPS:
                environment.operator.do("send", name=sweep, arguments=[], queue="maintenance")
        return name in calls(seen)

    for name in sorted(wanted):
        environment.wait(partial(is_called, name), f"{name} was never called", 60)
    inside = {name: depths for name, depths in calls(seen).items() if depths != {0}}
    assert inside == {}
    sessions = [line.split()[1:] for line in lines(seen, "session")]
    assert len(sessions) >= 8  # several threads of four processes
    for thread, *limits in sessions:
        assert all(0 < int(limit) < LEASE_MS for limit in limits), thread


def lines(seen: Path, kind: str) -> list[str]:
    return [line for line in seen.read_text().splitlines() if line.startswith(f"{kind} ")]


def calls(seen: Path) -> dict[str, set[int]]:
    """In how many open transactions each call was ever made."""
    found: dict[str, set[int]] = {}
    for line in lines(seen, "call"):
        _, name, depth = line.split()
        found.setdefault(name, set()).add(int(depth))
    return found
