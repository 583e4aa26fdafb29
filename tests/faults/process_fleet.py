"""Our processes, started as the stack starts them, and killed by their own process ids."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg

from common.operational.source import VARIABLE, with_settings
from ops.embedded.processes import spawn
from ops.stack import stack
from ops.stack.process import ProcessSpec
from tests.faults.servers import OF_TESTS, ROOT, Servers

FAST = {
    "FILLCAST_LEASE_SECONDS": "4",
    VARIABLE: with_settings(
        OF_TESTS,
        {
            "execution.send_deadline_seconds": 2,
            "execution.call_timeout_seconds": 2,
            "execution.absence_gap_seconds": 5,
            "execution.market_entry_max_age_seconds": 300,
            "execution.poll_seconds": 1,
            "execution.dispatch_slots": 200,
            "execution.bundle_size": 50,
        },
    ),
}
START_SECONDS = 60
# After a reconnect entries wait for a reconciliation, which maintenance runs.
EVERYTHING = "execution,exits,maintenance"


def wait_until(
    what: Callable[[], Any], seconds: float, otherwise: str | Callable[[], str]
) -> float:
    """Wait until `what()` is true; return how long that took.

    Raises AssertionError with `otherwise` after `seconds`. An unreachable database is no error.
    """
    began = time.monotonic()
    while True:
        try:
            if what():
                return time.monotonic() - began
        except psycopg.OperationalError:
            pass
        if time.monotonic() - began > seconds:
            details = otherwise if isinstance(otherwise, str) else otherwise()
            raise AssertionError(f"not within {seconds:g} s: {details}")
        time.sleep(0.02)


class Process:
    def __init__(
        self,
        name: str,
        line: tuple[str, ...],
        environ: Mapping[str, str],
        log: Path,
        code: Path = ROOT,
    ) -> None:
        """code: the folder of the code that it runs."""
        self.name, self.log = name, log
        with log.open("ab") as output:
            self.began_at = output.tell()
            self.popen = spawn(
                line, output=output, folder=code, env=environ, at_death=signal.SIGKILL
            )

    @classmethod
    def python(
        cls, name: str, line: tuple[str, ...], environ: Mapping[str, str], log: Path
    ) -> "Process":
        """Start a program of our Python."""
        return cls(name, (sys.executable, *line), environ, log)

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether it is stopped by SIGSTOP."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except OSError:
            return False

    def output(self) -> str:
        """Return what it has written to its log."""
        return self.log.read_bytes()[self.began_at :].decode(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        if self.alive:
            self.popen.send_signal(number)

    def kill(self) -> None:
        """kill -9; works for a stopped process too."""
        self.signal(signal.SIGKILL)
        self.popen.wait(10)

    def stop(self) -> None:
        """Send SIGSTOP: it is stopped until `go_on`."""
        self.signal(signal.SIGSTOP)
        wait_until(lambda: self.stopped, 5, f"{self.name} does not stop")

    def go_on(self) -> None:
        self.signal(signal.SIGCONT)

    def end(self, seconds: float = 30) -> int:
        """Send SIGTERM and wait for its end; return its exit code."""
        self.signal(signal.SIGTERM)
        return self.popen.wait(seconds)


class OperatorProcess(Process):
    """The process of `operator_process.py`: publishes, closes, moves levels, stores prices."""

    def __init__(self, environ: Mapping[str, str], folder: Path, code: Path = ROOT) -> None:
        self.name, self.log, self.began_at = "operator", folder / "operator.log", 0
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.operator_process"], env=environ, cwd=code,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        if not line:
            raise OperatorDiedError(self.popen.wait(10))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def begin(self, what: str, **how: Any) -> None:
        """Send a command; do not wait for its result."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps({"do": what, **how}).encode() + b"\n")
        self.popen.stdin.flush()

    def answer(self) -> Any:
        """Return the result of a command. Raises OperatorDiedError, OperatorFailedError."""
        answer = self._read()
        if not answer["ok"]:
            raise OperatorFailedError(answer["error"])
        return answer["result"]

    def do(self, what: str, **how: Any) -> Any:
        """Run a command and return its result."""
        self.begin(what, **how)
        return self.answer()


class OperatorDiedError(Exception):
    """The process ended during a command; the argument is the exit code."""


class OperatorFailedError(Exception):
    """A command failed; the message states why."""


class Fleet:
    """All processes of one case, by name."""

    def __init__(
        self, servers: Servers, folder: Path, environ: Mapping[str, str], code: Path = ROOT
    ) -> None:
        """code: the folder of the code that its processes run."""
        self.servers, self.folder, self.code = servers, folder, code
        self.environ = {**servers.environ(), **FAST, **environ}
        self.processes: dict[str, Process] = {}

    def __getitem__(self, name: str) -> Process:
        return self.processes[name]

    # ---- starting -------------------------------------------------------------------------
    def start(
        self,
        child: ProcessSpec,
        *,
        faults: str = "",
        without: str = "",
        imports: str = "",
        **env: str,
    ) -> Process:
        """Start a process of the stack.

        faults: failpoints of this process only. without: a guard to remove
        (`disabled_guards.py`). imports: a module that a worker imports.
        """
        environ = {**child.environment(self.environ), **env}
        line = list(child.command)
        if faults:
            environ["FILLCAST_REHEARSAL"] = f"failpoints={faults}"
        if without:
            environ["WITHOUT"] = without
            imports = "tests.faults.disabled_guards"
        if imports:
            line += ["-I", imports]
        log = self.folder / f"{child.name}.log"
        process = Process(child.name, tuple(line), environ, log, self.code)
        self.processes[child.name] = process
        return process

    def worker(
        self,
        name: str = "worker",
        queues: str = "execution,exits",
        *,
        wait: bool = True,
        threads: int = 0,
        **how: Any,
    ) -> Process:
        """Start a worker; wait until it has its lease."""
        process = self.start(stack.worker_process(name, queues, threads=threads), **how)
        if wait:
            self.wait_for_lease(process)
        return process

    def wait_for_lease(self, *processes: Process) -> None:
        """Wait until all of these processes hold a lease."""
        wait_until(
            lambda: all(self.has_lease(process.pid) for process in processes),
            START_SECONDS,
            lambda: "no lease:\n" + "\n".join(process.output()[-2000:] for process in processes),
        )

    def has_lease(self, pid: int) -> bool:
        """Return whether a process has a valid lease."""
        leases = self.servers.ours.rows(
            "SELECT 1 FROM execution_workerlease"
            " WHERE pid = %s AND lease_until > clock_timestamp()",
            pid,
        )
        return bool(leases)

    def beat(self) -> Process:
        line = (sys.executable, "-m", "config", "beat", "--max-interval", "1")
        return self.start(ProcessSpec("beat", line, env={"FILLCAST_DB_ROLE": "trade"}))

    def prices(self, **how: Any) -> Process:
        """Start the prices process; wait until it has its lease."""
        process = self.start(stack.command_process("prices"), **how)
        self.wait_for_lease(process)
        return process

    def operator(self, faults: str = "") -> OperatorProcess:
        """Start another operator's process, which may die."""
        own = {"FILLCAST_DB_ROLE": "trade", "FILLCAST_REHEARSAL": f"failpoints={faults}"}
        environ = {**self.environ, **own}
        process = OperatorProcess(environ, self.folder, self.code)
        self.processes[f"operator-{process.pid}"] = process
        return process

    # ---- ending ---------------------------------------------------------------------------
    def end_all(self) -> None:
        """Kill everything that was started."""
        for process in self.processes.values():
            process.signal(signal.SIGKILL)
        for process in self.processes.values():
            process.popen.wait(10)
        self.processes.clear()

    def log(self, *names: str) -> str:
        """Return the ends of logs, for the message of a failure."""
        paths = [self.folder / f"{name}.log" for name in names] or sorted(self.folder.glob("*.log"))
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in paths
        )
