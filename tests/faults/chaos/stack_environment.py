"""The stage: private servers, the stack's own processes under its own supervisor, the broker."""

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Self

from config.env import Settings
from config.installation import ROOT
from ops.bootstrap import development_secrets
from ops.embedded import processes
from ops.embedded.ports import free_port
from ops.stack.process import ManagedProcess, ProcessSpec
from ops.stack.stack import SESSION_THREADS, all_processes, worker_process
from ops.stack.supervisor import Supervisor
from tests.fakes.paper_server import environ_for
from tests.faults.network_proxy import Network
from tests.faults.process_fleet import OperatorProcess
from tests.faults.servers import Servers

CONNECTIONS = 500
LEASE_SECONDS = 5
SETTINGS = {
    "FILLCAST_LEASE_SECONDS": str(LEASE_SECONDS),
    "FILLCAST_SEND_DEADLINE_SECONDS": "2",
    "FILLCAST_CALL_TIMEOUT_SECONDS": "3",
    "FILLCAST_ABSENCE_GAP_SECONDS": "10",
    "FILLCAST_POLL_SECONDS": "1",
    "FILLCAST_LOG_LEVEL": "INFO",
}
BROKER = "broker"
LANES = 8
# Every fifth account needs a session: a third party's kind over the same wire and books. Other than
# the SHARE of `trouble`, so that some of them are silent, slow and late, too, and some are not.
TO_LANES = f"""
UPDATE connections_executionconnection
SET type = 'sessioned', lane = 'sessions.' || abs(hashtext(id::text)) % {LANES}
WHERE abs(hashtext('session ' || id::text)) % 5 = 0
"""
# An account in error takes no entries until it was read again, each minute: a minute of a chaos is
# most of it.
OFTEN = """
UPDATE django_celery_beat_periodictask SET interval_id = (
  SELECT id FROM django_celery_beat_intervalschedule WHERE every = 5 AND period = 'seconds' LIMIT 1)
WHERE name = 'refresh accounts'
"""
READY_SECONDS = 120


class StackEnvironment:
    """`with Stage(folder, say) as stage:`. Leaving it ends everything that it started."""

    def __init__(self, folder: Path, say: Callable[[str], None], without: str = "") -> None:
        """without: a guard that is taken away from the workers (`sabotage.py`)."""
        self.folder, self.without = folder, without
        self.servers = Servers(folder)
        self._say = say
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
            for running in self.children.values():  # a stopped one receives nothing
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
        self._say("servers, tables, 500 accounts …")
        self.servers.start(connections=CONNECTIONS)
        self.servers.fresh()
        self.servers.ours.rows(OFTEN)
        self.servers.ours.rows(TO_LANES)
        self.network.__enter__()
        self.environ = {
            **self.servers.environ(),
            **SETTINGS,
            "FILLCAST_PORT": str(free_port()),
            **environ_for(self.network.address),
            "FILLCAST_SESSION_LANES": str(LANES),
            "PYTHONPATH": str(ROOT / "tests/fakes/plugin"),
            "SESSIONED_JOURNAL": str(self.folder / "calls.log"),
        }
        self.environ |= development_secrets(self.environ)
        (self.folder / "static").mkdir(exist_ok=True)
        beside = worker_process(
            "sessions-2", "sessions", threads=SESSION_THREADS
        )  # lanes have where to go
        stack = [*all_processes(Settings.read(self.environ)), beside]
        children = [self._broker(), *(self._sabotaged(child) for child in stack)]
        self._say(f"the stack: {', '.join(child.name for child in children)}")
        self.supervisor = Supervisor(
            children, environ=self.environ, logs=self.folder / "log", folder=ROOT,
            report=lambda _: None,
        )  # fmt: skip
        self.supervisor.start()
        if not self.supervisor.wait_ready(READY_SECONDS):
            raise RuntimeError(f"not ready: {self.supervisor.unready()}; see {self.folder}")
        self.operator = OperatorProcess({**self.environ, "FILLCAST_DB_ROLE": "trade"}, self.folder)
        self.servers.ours.rows("UPDATE connections_accountsnapshot SET read_at = clock_timestamp()")

    def _sabotaged(self, child: ProcessSpec) -> ProcessSpec:
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
        """Run a management command on this stage."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments], env=self.environ, cwd=ROOT, text=True,
            capture_output=True, check=False,
        )  # fmt: skip


def folder_for(seed: int) -> Path:
    """Make a folder of this run's own, below var/chaos."""
    parent = ROOT / "var" / "chaos"
    parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f"seed-{seed}-", dir=parent))
    made.chmod(0o755)  # PostgreSQL runs as another user when we are root
    return made


def forget(folder: Path) -> None:
    """Remove a run's folder, servers' data and logs alike."""
    shutil.rmtree(folder, ignore_errors=True)


def keep_logs(folder: Path) -> None:
    """Remove what is large; logs stay."""
    for name in ("ours", "books"):
        for path in (folder / name).glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
