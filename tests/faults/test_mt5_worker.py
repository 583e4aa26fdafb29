"""A worker with a MetaTrader 5 terminal: an owner's account from the form to the books, and orders
while the terminal is frozen or the worker dies.

Worker, database, Redis and the package's process are real; the terminal is the tests' fake.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.mt5.fake_terminal import PACKAGE, FakeTerminal
from tests.faults.environment import FaultEnvironment
from tests.faults.process_fleet import FAST, Process
from tests.faults.servers import ROOT, Servers

pytestmark = [pytest.mark.faults]
LEASE = float(FAST["FILLCAST_LEASE_SECONDS"])
LOGIN = 1001
READY = """
SELECT 1 FROM connections_connectionhealth h JOIN connections_lanelease l ON l.lane = 'mt5.alpha'
WHERE h.connection_id = %s AND h.status = 'ACTIVE' AND h.reconciled_at > l.acquired_at
  AND l.until > clock_timestamp()
"""
ORDERS = "SELECT leg, status FROM execution_order WHERE connection_id = %s"


class Terminal(FaultEnvironment):
    """One terminal, `alpha`, and an owner's account in it."""

    def __init__(self, servers: Servers, folder: Path, venue: FakeTerminal) -> None:
        self.terminal = venue
        environ = {
            "FAKE_MT5": str(venue.port),
            "PYTHONPATH": str(PACKAGE),
            "FILLCAST_MT5_TERMINAL": "alpha=",
        }
        super().__init__(servers, folder, environ)

    def owner_connects(self) -> str:
        """Connect the owner's account; return the connection's id."""
        completed = subprocess.run(
            [sys.executable, "-m", "tests.faults.mt5_owner", str(LOGIN)],
            cwd=ROOT, env=self.fleet.environ | {"FILLCAST_DB_ROLE": "owner"}, text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        assert completed.returncode == 0, completed.stderr[-3000:]
        return completed.stdout.split()[-1]

    def worker(self, name: str = "mt5") -> Process:
        """Start the terminal's worker; wait for its lease."""
        return self.fleet.worker(name, "mt5.alpha", threads=2)

    def ready(self, connection: str) -> float:
        """Wait until the account is tested and reconciled, so that entries may be sent."""
        return self.wait(lambda: self.ours.rows(READY, connection), "not ready", 60)

    def orders(self, connection: str) -> dict[str, str]:
        return {row.leg: row.status for row in self.ours.rows(ORDERS, connection)}

    def is_filled(self, connection: str) -> bool:
        return "FILLED" in self.orders(connection).values()


@pytest.fixture
def terminal(servers: Servers, tmp_path: Path) -> Iterator[Terminal]:
    venue = FakeTerminal()
    venue.configure_account(balance=100_000.0)
    try:
        with Terminal(servers, tmp_path, venue) as environment:
            yield environment
    finally:
        venue.control("release")
        venue.stop()


def published(terminal: Terminal) -> int:
    terminal.quote("1.10000", "1.10010")
    (signal,) = terminal.operator.do("publish", feed=1)
    return int(signal)


def test_mt5_account_trades_from_form_to_broker_books(terminal: Terminal) -> None:
    """Tested, reconciled, filled with its levels; the server's stop is applied within seconds."""
    general = terminal.fleet.worker("general", "execution,exits,maintenance", wait=False)
    worker = terminal.worker()
    connection = terminal.owner_connects()
    print(f"ready after {terminal.ready(connection):.1f} s")
    published(terminal)
    terminal.wait(lambda: terminal.is_filled(connection), "not filled")
    (held,) = terminal.terminal.state(LOGIN)["positions"]
    assert (held["sl"], held["tp"]) == (1.095, 1.11)
    terminal.wait(lambda: terminal.count.open_positions() == 1, "no position")
    terminal.terminal.quote("EURUSD", 1.094, 1.0941)  # the server's own stop
    # update_interval_seconds is 1, and each poll takes up to 1 s; reconciliation runs every 60 s
    took = terminal.wait(lambda: terminal.count.open_positions() == 0, "not completed", 20)
    print(f"the stop was in the books after {took:.2f} s")
    assert len(terminal.terminal.accepted(LOGIN)) == 1
    assert general.alive
    assert worker.alive


def test_worker_continues_while_package_is_frozen(terminal: Terminal) -> None:
    """For longer than its lease: it renews it, keeps its lane, and sends the order only once."""
    worker = terminal.worker()
    connection = terminal.owner_connects()
    terminal.ready(connection)
    terminal.terminal.fault("order_send", "freeze", seconds=2 * LEASE)
    published(terminal)
    began = time.monotonic()
    terminal.wait(lambda: terminal.terminal.accepted(LOGIN), "not sent")
    while time.monotonic() - began < 2 * LEASE - 1:
        assert terminal.fleet.has_lease(worker.pid)
        time.sleep(0.1)
    terminal.wait(lambda: terminal.is_filled(connection), "not filled", 60)
    assert len(terminal.terminal.accepted(LOGIN)) == 1


@pytest.mark.parametrize("accepts", [True, False])
def test_worker_killed_during_send(terminal: Terminal, accepts: bool) -> None:
    """The next worker takes the terminal's lane, looks the order up and sends nothing twice."""
    victim = terminal.worker("victim")
    connection = terminal.owner_connects()
    terminal.ready(connection)
    terminal.terminal.fault("order_send", "silent", accepts=accepts)
    published(terminal)
    terminal.wait(lambda: "order_send" in terminal.terminal.state(LOGIN)["calls"], "not sent")
    victim.kill()
    terminal.worker("next")
    ended = {"FILLED"} if accepts else {"FILLED", "FAILED", "EXPIRED"}  # it may be sent again
    terminal.wait(lambda: ended & set(terminal.orders(connection).values()), "no end", 60)
    filled = 1 if terminal.is_filled(connection) else 0
    assert len(terminal.terminal.accepted(LOGIN)) == filled
