"""The environment of `recovery`: servers with fsync, the broker with books of its own, the stack.

Servers, broker and operator are those of `tests/faults`, so that they survive when our processes
are killed; the settings are the product's own.
"""

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import psycopg

from benchmarks.environment import BenchError
from benchmarks.programs import Program
from common.operational.source import VARIABLE, with_settings
from config.installation import ROOT
from ops.bootstrap import development_secrets
from ops.embedded.ports import free_port
from ops.embedded.processes import wait_until
from tests.fakes.paper_server import environ_for
from tests.faults.broker_process import Broker
from tests.faults.chaos.stack_environment import LANES, TO_LANES
from tests.faults.invariants import InvariantCounts
from tests.faults.process_fleet import OperatorProcess
from tests.faults.servers import OF_TESTS, Servers

START_SECONDS = 120.0
UNHEALTHY = "SELECT count(*) FROM connections_connectionhealth WHERE status <> 'ACTIVE'"
FRESH = "UPDATE connections_accountsnapshot SET read_at = clock_timestamp()"


class RecoveryEnvironment:
    """Servers, broker, stack and operator. Leaving the `with` statement ends all processes."""

    def __init__(self, folder: Path, accounts: int, settings: Mapping[str, Any]) -> None:
        """settings: of the stack, beside the product's own."""
        folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
        self.folder, self._accounts, self._settings = folder, accounts, settings
        self.servers = Servers(folder, settings=())
        self.broker = Broker(self.servers)
        self.port = free_port()
        self.count = InvariantCounts(self.servers.ours, self.servers.books, dict)

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            ends.callback(self.servers.stop)
            self.servers.start()
            self.servers.fresh(self.servers.state_with(self._accounts))
            self.servers.ours.rows(TO_LANES)  # the worker of sessions has orders, too
            self.environ = self._environ()
            ends.callback(self.broker.kill)
            self.broker.start()
            self.stack = Program("benchmarks.stack_program", env=self.environ)
            ends.callback(lambda: self.stack.close())
            trading = {**self.environ, "FILLCAST_DB_ROLE": "trade"}
            self.operator = OperatorProcess(trading, self.folder)
            ends.callback(self.operator.kill)
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def _environ(self) -> dict[str, str]:
        settings = {
            "messages.log_level": "WARNING", "execution.session_lanes": LANES, **self._settings
        }  # fmt: skip
        environ = {
            **self.servers.environ(), **environ_for(self.broker.address),
            "FILLCAST_LISTEN": str(self.port), "PYTHONPATH": str(ROOT / "tests/fakes/plugin"),
            "SESSIONED_JOURNAL": str(self.folder / "calls.log"),
            VARIABLE: with_settings(OF_TESTS, settings),
        }  # fmt: skip
        return environ | development_secrets(environ)

    def wait_well(self) -> dict[str, int]:
        """Wait until all processes are ready and all accounts may trade; return the ids."""
        found: dict[str, int] = self.stack.ask()
        self.wait(
            lambda: not self.servers.ours.value(UNHEALTHY) and self.is_settled(),
            START_SECONDS, every=0.2, what="accounts that may trade",
        )  # fmt: skip
        found |= self.stack.ask()  # one that has been restarted meanwhile
        self.servers.ours.rows(FRESH)
        self.operator.do("quote")
        return found

    def kill(self, kind: str, victim: int) -> None:
        """kill -9 of a server, or of everything, and a new start at once; or of one process."""
        if kind == "redis":
            self.servers.kill_redis()
            self.servers.redis.start()  # without its data
        elif kind == "postgres":
            self.servers.end_postgres(signal.SIGKILL)
            self.servers.postgres.start()  # recovers its data
        elif kind == "supervisor":
            self.stack.process.kill()
            self.stack.process.wait()
            self.stack = Program("benchmarks.stack_program", env=self.environ)
        else:
            os.kill(victim, signal.SIGKILL)

    def is_settled(self) -> bool:
        """Return whether every order is final or confirmed, and the broker's events are stored."""
        return self.count.unsettled() == 0 and self.count.unacknowledged_events() == 0

    def wait(
        self, done: Callable[[], bool], seconds: float, *, every: float = 0.005, what: str = ""
    ) -> None:
        """Wait until `done()`. An unreachable database is no error. Raises BenchError."""

        def is_done() -> bool:
            with suppress(psycopg.OperationalError):
                return done()
            return False

        if not wait_until(is_done, seconds, every=every):
            raise BenchError(f"recovery: {what} not within {seconds:g} s; see {self.folder}")
