"""The database is restored under real processes, while the broker keeps its own books."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.faults import postgres_clusters
from tests.faults.environment import FaultEnvironment, Scenario
from tests.faults.servers import manage

pytestmark = [pytest.mark.faults]
N = 200
QUEUES = "execution,exits,maintenance"


def count(environment: FaultEnvironment, statement: str, *parameters: Any) -> int:
    return int(environment.ours.value(f"SELECT count(*) FROM {statement}", *parameters))


def epoch_status(environment: FaultEnvironment, *options: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the last line of `manage.py new_epoch`."""
    done = manage(
        {**environment.fleet.environ, "FILLCAST_DB_ROLE": "trade"}, ["new_epoch", *options]
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def stored_mark(folder: Path) -> int:
    """Return the high-water mark in the file outside the database."""
    try:
        return int(json.loads((folder / "high_water_mark.json").read_text())["mark"])
    except FileNotFoundError:
        return 0


def go_on_after_the_backup(environment: FaultEnvironment) -> int:
    """Trade after the backup: fill what waited and one more signal, and close ten positions.

    Returns how many orders the broker has accepted.
    """
    mark = int(environment.ours.value("SELECT last_value FROM fillcast_mark"))
    meanwhile = environment.fleet.worker("meanwhile", QUEUES)
    environment.wait(lambda: environment.filled() == 2 * N, "what waited is not filled", 60)
    environment.operator.do("publish", feed=N)
    environment.wait(lambda: environment.filled() == 3 * N, "the last signal is not filled", 60)
    closed = [
        row.id
        for row in environment.ours.rows(
            "SELECT id FROM positions_executionposition ORDER BY id LIMIT 10"
        )
    ]
    environment.operator.do("close", positions=closed)
    environment.wait(lambda: environment.count.open_positions() == 3 * N - 10, "not closed")
    environment.wait(lambda: stored_mark(environment.folder) > mark, "the mark was not stored")
    meanwhile.kill()
    accepted = environment.count.accepted()
    assert accepted == 3 * N + 10
    return accepted


def wait_until_compared(environment: FaultEnvironment) -> None:
    """Wait until the broker's books, its accounts and the closes since are reconciled."""
    environment.wait(
        lambda: count(environment, "execution_driftitem WHERE kind = 'FORGOTTEN_ORDER'") >= 2 * N,
        "the broker's books are not compared", 90,
    )  # fmt: skip
    environment.wait(
        lambda: "UNCOMPARED" not in epoch_status(environment, "--status")[1]["unsettled"],
        "the accounts are not compared", 90,
    )  # fmt: skip
    environment.wait(
        lambda: count(environment, "positions_executionposition WHERE quantity > 0") == N - 10,
        "what was closed meanwhile is still open here", 90,
    )  # fmt: skip


def test_restore_neither_resends_nor_hides_broker_activity(
    environment: FaultEnvironment, tmp_path: Path
) -> None:
    before = environment.fleet.worker("before", QUEUES)
    environment.quote()
    environment.operator.do("publish", feed=N)
    environment.wait(lambda: environment.filled() == N, "the first signal is not filled", 60)
    before.kill()
    environment.operator.do("publish", feed=N)  # waits at the backup
    backup = postgres_clusters.dump(tmp_path / "backup", environment.ours.url)
    accepted = go_on_after_the_backup(environment)

    environment.ours.close()
    postgres_clusters.restore(backup, environment.ours.url)
    environment.fleet.worker("after", QUEUES)
    scenario = Scenario(environment)
    open_epoch = "connections_epoch WHERE released_at IS NULL AND cause = 'BEHIND'"
    environment.wait(lambda: count(environment, open_epoch) == 1, "it was not noticed")
    states = environment.count.states()
    assert (states["FILLED"], sum(states.values())) == (N, 2 * N)
    assert count(environment, "execution_order WHERE reason = 'RESTORED_UNSENT'") == N
    wait_until_compared(environment)
    seconds = scenario.end()
    assert environment.count.accepted() == accepted, "something was sent"
    counts = environment.count.against_the_journal()
    must_be_0 = ("DUP", "RISEN", "REVERSED", "LOST", "MISMATCH", "GHOST", "PHANTOM")
    assert {name: counts[name] for name in must_be_0} == dict.fromkeys(must_be_0, 0)
    assert counts["ORPHAN"] >= 2 * N  # reported as drift until an operator decides

    environment.operator.do("publish", feed=N)
    assert count(environment, "execution_order WHERE reason = 'ENTRIES_HALTED'") == N
    code, status = epoch_status(environment, "--status")
    assert (code, status["open"], status["cause"]) == (1, True, "BEHIND")
    print(
        f"reconciled and reported {seconds:.1f} s after the restore;"
        f" {environment.count.accepted()} accepted"
    )
