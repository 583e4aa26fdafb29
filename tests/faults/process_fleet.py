"""Our processes, started as the stack starts them, and killed. Only by pid, only our own."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg

from ops.embedded.processes import spawn
from ops.stack import stack
from ops.stack.process import ProcessSpec
from tests.faults.servers import ROOT, Servers

FAST = {
    "FILLCAST_LEASE_SECONDS": "4",
    "FILLCAST_SEND_DEADLINE_SECONDS": "2",
    "FILLCAST_CALL_TIMEOUT_SECONDS": "2",
    "FILLCAST_ABSENCE_GAP_SECONDS": "5",
    "FILLCAST_MARKET_ENTRY_MAX_AGE_SECONDS": "300",
    "FILLCAST_POLL_SECONDS": "1",
    "FILLCAST_DISPATCH_SLOTS": "200",
    "FILLCAST_BUNDLE_SIZE": "50",
    "FILLCAST_LOG_LEVEL": "INFO",
}
START_SECONDS = 60
# After a reconnect entries wait for a comparison, which is maintenance's.
EVERYTHING = "execution,exits,maintenance"


def wait_until(
    what: Callable[[], Any], seconds: float, otherwise: str | Callable[[], str]
) -> float:
    """Poll for a state with a deadline; return how long it took. A database away is not yet."""
    began = time.monotonic()
    while True:
        try:
            if what():
                return time.monotonic() - began
        except psycopg.OperationalError:
            pass
        if time.monotonic() - began > seconds:
            said = otherwise if isinstance(otherwise, str) else otherwise()
            raise AssertionError(f"not within {seconds:g} s: {said}")
        time.sleep(0.02)


class Process:
    """One running process."""

    def __init__(
        self, name: str, line: tuple[str, ...], environ: Mapping[str, str], log: Path
    ) -> None:
        self.name, self.log = name, log
        with log.open("ab") as output:
            self.began_at = output.tell()
            self.popen = spawn(
                line, output=output, folder=ROOT, env=environ, at_death=signal.SIGKILL
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
        """Whether it stands still by SIGSTOP."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except OSError:
            return False

    def said(self) -> str:
        """Its log."""
        return self.log.read_bytes()[self.began_at :].decode(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        if self.alive:
            self.popen.send_signal(number)

    def kill(self) -> None:
        """kill -9, a stopped one too."""
        self.signal(signal.SIGKILL)
        self.popen.wait(10)

    def stop(self) -> None:
        """SIGSTOP: it stands still until `go_on`."""
        self.signal(signal.SIGSTOP)
        wait_until(lambda: self.stopped, 5, f"{self.name} does not stop")

    def go_on(self) -> None:
        self.signal(signal.SIGCONT)

    def end(self, seconds: float = 30) -> int:
        """SIGTERM, and wait for it; return its exit code."""
        self.signal(signal.SIGTERM)
        return self.popen.wait(seconds)


class OperatorProcess(Process):
    """The process of `hands.py`: publishes, closes, moves levels, brings prices."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self.name, self.log, self.began_at = "hands", folder / "hands.log", 0
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.operator_process"], env=environ, cwd=ROOT,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        if not line:
            raise OperatorDiedError(self.popen.wait(10))
        told: dict[str, Any] = json.loads(line)
        return told

    def begin(self, what: str, **how: Any) -> None:
        """Have something done; do not wait for it."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps({"do": what, **how}).encode() + b"\n")
        self.popen.stdin.flush()

    def answer(self) -> Any:
        """What became of it. Raises HandsDiedError, HandsFailedError."""
        told = self._read()
        if not told["ok"]:
            raise OperatorFailedError(told["error"])
        return told["told"]

    def do(self, what: str, **how: Any) -> Any:
        """Have something done and return what came of it."""
        self.begin(what, **how)
        return self.answer()


class OperatorDiedError(Exception):
    """The process ended in the middle of it; its argument is the exit code."""


class OperatorFailedError(Exception):
    """It could not be done; the text says why."""


class Fleet:
    """All processes of one case, by name."""

    def __init__(self, servers: Servers, folder: Path, environ: Mapping[str, str]) -> None:
        self.servers, self.folder = servers, folder
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
        """Start a process of the stack. faults: FILLCAST_FAILPOINTS, of this one process alone.
        without: a guard that is taken away (`sabotage.py`). imports: a module for a worker."""
        environ = {**self.environ, **child.env, **env}
        for name in child.without:
            environ.pop(name, None)
        line = list(child.command)
        if faults:
            environ["FILLCAST_FAILPOINTS"] = faults
        if without:
            environ["WITHOUT"] = without
            imports = "tests.faults.disabled_guards"
        if imports:
            line += ["-I", imports]
        made = Process(child.name, tuple(line), environ, self.folder / f"{child.name}.log")
        self.processes[child.name] = made
        return made

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
        made = self.start(stack.worker_process(name, queues, threads=threads), **how)
        if wait:
            self.wait_for_lease(made)
        return made

    def wait_for_lease(self, *wanted: Process) -> None:
        """Wait until these trade."""
        wait_until(
            lambda: all(self.has_lease(process.pid) for process in wanted),
            START_SECONDS,
            lambda: "no lease:\n" + "\n".join(process.said()[-2000:] for process in wanted),
        )

    def has_lease(self, pid: int) -> bool:
        """Whether a process is believed to be alive now."""
        found = self.servers.ours.rows(
            "SELECT 1 FROM execution_workerlease"
            " WHERE pid = %s AND lease_until > clock_timestamp()",
            pid,
        )
        return bool(found)

    def beat(self) -> Process:
        """Start beat."""
        line = (sys.executable, "-m", "config", "beat", "--max-interval", "1")
        return self.start(ProcessSpec("beat", line, env={"FILLCAST_DB_ROLE": "trade"}))

    def prices(self, **how: Any) -> Process:
        """Start the prices process; wait until it trades."""
        made = self.start(stack.command_process("prices"), **how)
        self.wait_for_lease(made)
        return made

    def operator(self, faults: str = "") -> OperatorProcess:
        """Start people's hands: one that may die, beside the place's own."""
        environ = {**self.environ, "FILLCAST_DB_ROLE": "trade", "FILLCAST_FAILPOINTS": faults}
        made = OperatorProcess(environ, self.folder)
        self.processes[f"hands-{made.pid}"] = made
        return made

    # ---- ending ---------------------------------------------------------------------------
    def end_all(self) -> None:
        """Kill everything that was started."""
        for process in self.processes.values():
            process.signal(signal.SIGKILL)
        for process in self.processes.values():
            process.popen.wait(10)
        self.processes.clear()

    def log(self, *names: str) -> str:
        """What processes have said, for the message of a failure."""
        shown = [self.folder / f"{name}.log" for name in names] or sorted(self.folder.glob("*.log"))
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in shown
        )
