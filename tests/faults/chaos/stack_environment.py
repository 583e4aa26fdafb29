"""The environment of a run: separate servers, the stack's processes under its supervisor, and the
broker.
"""

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Self

from common.operational.source import VARIABLE, with_settings
from config.env import Settings
from config.installation import ROOT
from ops.bootstrap import development_secrets
from ops.embedded import processes
from ops.stack.process import ManagedProcess, ProcessSpec
from ops.stack.stack import SESSION_THREADS, all_processes, fork_server, worker_process
from ops.stack.supervisor import Supervisor
from tests.fakes.paper_server import environ_for
from tests.faults.network_proxy import Network
from tests.faults.process_fleet import OperatorProcess
from tests.faults.servers import OF_TESTS, Servers
from tests.ports import free_port

CONNECTIONS = 500
LEASE_SECONDS = 5
LANES = 8
SETTINGS = {
    "FILLCAST_LEASE_SECONDS": str(LEASE_SECONDS),
    VARIABLE: with_settings(
        OF_TESTS,
        {
            "execution.send_deadline_seconds": 2,
            "execution.call_timeout_seconds": 3,
            "execution.absence_gap_seconds": 10,
            "execution.poll_seconds": 1,
            "execution.session_lanes": LANES,
        },
    ),
}
BROKER = "broker"
# Every fifth account needs a session: a third party's broker type with the same protocol and books.
# The choice is independent of SHARE in `fault_injection`, so that faults affect some of them.
TO_LANES = f"""
UPDATE connections_executionconnection
SET type = 'sessioned', lane = 'sessions.' || abs(hashtext(id::text)) % {LANES}
WHERE abs(hashtext('session ' || id::text)) % 5 = 0
"""
# An account in error takes no entries until it is read again. Once a minute would be too seldom for
# a short run.
OFTEN = """
UPDATE django_celery_beat_periodictask SET interval_id = (
  SELECT id FROM django_celery_beat_intervalschedule WHERE every = 5 AND period = 'seconds' LIMIT 1)
WHERE name = 'refresh accounts'
"""
READY_SECONDS = 120


class StackEnvironment:
    """Use it in a `with` statement; leaving that ends all processes that it started."""

    def __init__(
        self, folder: Path, report_progress: Callable[[str], None], without: str = ""
    ) -> None:
        """without: a guard that is removed from the workers (`disabled_guards.py`)."""
        self.folder, self.without = folder, without
        self.servers = Servers(folder)
        self._report_progress = report_progress
        self.broker_port = free_port()
        self.network = Network(("127.0.0.1", self.broker_port))
        self.environ: dict[str, str] = {}
        self.supervisor: Supervisor | None = None
        self.operator: OperatorProcess | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.operator is not None:
            self.operator.kill()
        if self.supervisor is not None:
            for running in self.children.values():  # a stopped process handles no signals
                if running.pid:
                    processes.signal_group(running.pid, signal.SIGCONT)
            self.supervisor.request_stop()
            self.supervisor.request_stop()  # at once
            self.supervisor.stop()
        if self.network.port:
            self.network.__exit__()
        self.servers.stop()

    @property
    def children(self) -> dict[str, ManagedProcess]:
        """Our processes and the broker's, by name."""
        assert self.supervisor is not None
        return self.supervisor.children

    def _start(self) -> None:
        self._report_progress("servers, tables, 500 accounts …")
        self.servers.start()
        self.servers.fresh(self.servers.state_with(CONNECTIONS))
        self.servers.ours.rows(OFTEN)
        self.servers.ours.rows(TO_LANES)
        self.network.__enter__()
        self.environ = {
            **self.servers.environ(),
            **SETTINGS,
            "FILLCAST_LISTEN": str(free_port()),
            **environ_for(self.network.address),
            "PYTHONPATH": str(ROOT / "tests/fakes/plugin"),
            "SESSIONED_JOURNAL": str(self.folder / "calls.log"),
        }
        self.environ |= development_secrets(self.environ)
        (self.folder / "static").mkdir(exist_ok=True)
        second_session_worker = worker_process(
            "sessions-2", "sessions", threads=SESSION_THREADS
        )  # lanes need a second owner
        stack = [*all_processes(Settings.read(self.environ)), second_session_worker]
        children = [self._broker(), *(self._without_guard(child) for child in stack)]
        self._report_progress(f"the stack: {', '.join(child.name for child in children)}")
        self.supervisor = Supervisor(
            children, environ=self.environ, logs=self.folder / "log", folder=ROOT,
            report=lambda _: None, fork_server=fork_server(),
        )  # fmt: skip
        self.supervisor.start()
        if not self.supervisor.wait_ready(READY_SECONDS):
            raise RuntimeError(f"not ready: {self.supervisor.unready()}; see {self.folder}")
        self.operator = OperatorProcess({**self.environ, "FILLCAST_DB_ROLE": "trade"}, self.folder)
        self.servers.ours.rows("UPDATE connections_accountsnapshot SET read_at = clock_timestamp()")

    def _without_guard(self, child: ProcessSpec) -> ProcessSpec:
        if not self.without or "worker" not in child.command:
            return child
        line = (*child.command, "-I", "tests.faults.disabled_guards")
        return replace(child, command=line, env={**child.env, "WITHOUT": self.without})

    def _broker(self) -> ProcessSpec:
        line = (sys.executable, "-m", "tests.fakes.paper_server", "--faults")
        return ProcessSpec(
            BROKER,
            (*line, "--port", str(self.broker_port)),
            env={"DATABASE_URL": self.servers.books.url},
            announces=True,
        )

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a management command in this environment."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments], env=self.environ, cwd=ROOT, text=True,
            capture_output=True, check=False,
        )  # fmt: skip


def folder_for(seed: int) -> Path:
    """Create a folder for this run, below var/chaos."""
    parent = ROOT / "var" / "chaos"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"seed-{seed}-", dir=parent))
    folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
    return folder


def forget(folder: Path) -> None:
    """Remove a run's folder with data and logs."""
    shutil.rmtree(folder, ignore_errors=True)


def keep_logs(folder: Path) -> None:
    """Remove the servers' data; keep the logs."""
    for name in ("ours", "books"):
        for path in (folder / name).glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
