"""The environment of `recovery`: servers with fsync, the broker with books of its own, the stack.

The servers and the broker are those of `tests/faults`, so that they survive when our processes are
killed; the settings are the product's own.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import psycopg

from benchmarks.environment import BenchError
from common.operational.source import VARIABLE, with_settings
from config.installation import ROOT
from ops.bootstrap import development_secrets
from ops.embedded.ports import free_port
from tests.fakes.paper_server import environ_for
from tests.faults.broker_process import Broker
from tests.faults.invariants import InvariantCounts
from tests.faults.process_fleet import OperatorProcess
from tests.faults.servers import OF_TESTS, Servers

START_SECONDS = 120.0
LANES = 8
# Every fifth account needs a session, so that the worker of sessions has orders, too.
TO_LANES = f"""
UPDATE connections_executionconnection
SET type = 'sessioned', lane = 'sessions.' || abs(hashtext(id::text)) % {LANES}
WHERE abs(hashtext('session ' || id::text)) % 5 = 0
"""
UNHEALTHY = "SELECT count(*) FROM connections_connectionhealth WHERE status <> 'ACTIVE'"
FRESH = "UPDATE connections_accountsnapshot SET read_at = clock_timestamp()"


class RecoveryEnvironment:
    """Use it in a `with` statement; leaving it ends all processes."""

    def __init__(self, folder: Path, accounts: int, settings: Mapping[str, Any]) -> None:
        """settings: of the stack, beside the product's own."""
        folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
        self.folder, self._accounts, self._settings = folder, accounts, settings
        self.servers = Servers(folder, settings=())
        self.broker = Broker(self.servers)
        self.port = free_port()
        self._stack: subprocess.Popen[str] | None = None
        self.count = InvariantCounts(self.servers.ours, self.servers.books, dict)

    def __enter__(self) -> Self:
        with ExitStack() as on_failure:
            on_failure.callback(self.__exit__)
            self.servers.start()
            self.servers.fresh(self.servers.state_with(self._accounts))
            self.servers.ours.rows(TO_LANES)
            self.environ = self._environ()
            self.broker.start()
            self.start_stack()
            self.operator = OperatorProcess(
                {**self.environ, "FILLCAST_DB_ROLE": "trade"}, self.folder
            )
            on_failure.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if operator := getattr(self, "operator", None):
            operator.kill()
        if self._stack is not None and self._stack.poll() is None:
            self._stack.communicate(timeout=60)
        self.broker.kill()
        self.servers.stop()

    def _environ(self) -> dict[str, str]:
        environ = {
            **self.servers.environ(),
            **environ_for(self.broker.address),
            "FILLCAST_LISTEN": str(self.port),
            "PYTHONPATH": str(ROOT / "tests/fakes/plugin"),
            "SESSIONED_JOURNAL": str(self.folder / "calls.log"),
            VARIABLE: with_settings(
                OF_TESTS,
                {
                    "messages.log_level": "WARNING",
                    "execution.session_lanes": LANES,
                    **self._settings,
                },
            ),
        }
        (self.folder / "static").mkdir(exist_ok=True)
        return environ | development_secrets(environ)

    # ---- processes ------------------------------------------------------------------------
    def start_stack(self) -> None:
        """Start the supervisor, which starts the processes; return at once."""
        self._stack = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.recovery_stack"], cwd=ROOT, env=self.environ,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def pids(self) -> dict[str, int]:
        """Return the ids of the stack's processes by name; empty while one is not ready."""
        assert self._stack is not None
        assert self._stack.stdin is not None
        assert self._stack.stdout is not None
        self._stack.stdin.write("\n")
        self._stack.stdin.flush()
        found: dict[str, int] = json.loads(self._stack.stdout.readline())
        return found

    def wait_well(self) -> dict[str, int]:
        """Wait until all processes are ready and all accounts may trade; return the ids."""
        found: dict[str, int] = {}

        def is_well() -> bool:
            found.update(self.pids())
            return bool(found) and not self.servers.ours.value(UNHEALTHY) and self.is_settled()

        self.wait(is_well, START_SECONDS, every=0.2)
        self.servers.ours.rows(FRESH)
        self.operator.do("quote")
        return found

    def kill_stack(self) -> None:
        """kill -9 of the supervisor, which ends all its processes, and a new start at once."""
        assert self._stack is not None
        self._stack.kill()
        self._stack.wait()
        self.start_stack()

    def kill_redis(self) -> None:
        """kill -9 and a new start, without its data."""
        self.servers.kill_redis()
        self.servers.redis.start()

    def kill_postgres(self) -> None:
        """kill -9 of the first process of PostgreSQL, and a new start, which recovers its data."""
        self.servers.end_postgres(signal.SIGKILL)
        self.servers.postgres.start()

    # ---- orders ---------------------------------------------------------------------------
    def is_settled(self) -> bool:
        """Return whether every order is final or confirmed, and the broker's events are stored."""
        return self.count.unsettled() == 0 and self.count.unacknowledged_events() == 0

    def wait(
        self, done: Callable[[], bool], seconds: float, *, every: float = 0.005, what: str = ""
    ) -> float:
        """Wait until `done()`; return how long it took. An unreachable database is no error.

        Raises BenchError after `seconds`.
        """
        began = time.monotonic()
        while True:
            try:
                if done():
                    return time.monotonic() - began
            except psycopg.OperationalError:
                pass
            if time.monotonic() - began > seconds:
                raise BenchError(f"recovery: {what} not within {seconds:g} s; see {self.folder}")
            time.sleep(every)

    def wrong(self, expected: int) -> dict[str, Any]:
        """Return each counter of lost and repeated orders that is not 0."""
        counts = self.count.against_the_journal(expected)
        return {name: number for name, number in counts.items() if number}


def new_folder(parent: Path) -> Path:
    """Create a folder for one run."""
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="recovery-", dir=parent))


def kill(pid: int) -> None:
    """kill -9."""
    os.kill(pid, signal.SIGKILL)
