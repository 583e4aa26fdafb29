"""One process of the stack: its command, state, log and restarts."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from common.process.readiness import VARIABLE as READY_FILE
from ops.embedded import orphans, processes
from ops.stack.forked_process import RunningProcess

# Long enough to spare the machine, short enough for exits that wait for their worker.
FIRST_DELAY, LONGEST_DELAY, HEALTHY_SECONDS = 0.5, 10.0, 30.0
LIVES_SECONDS = 1.0  # a command that runs this long did not fail at start
LOG_BYTES_KEPT = 20_000_000
MAX_LINES_AT_ONCE = 20
_ERROR = re.compile(
    r"\[(error|critical)\s*\]|\"level\": \"(error|critical)\"|^\w*(Error|Exception)\b"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run. `env` is added to the stack's environment; what `without` names is withheld.

    announces: the process calls `announce_ready` when it is ready.
    ready: called until it returns True, in place of that announcement.
    Without either, a process is ready after one second. stop_seconds: from SIGTERM to SIGKILL.
    niceness: 0 to 19, how much it gives way to the others. forked: from the fork server, if there
    is one; for commands of Python.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    announces: bool = False
    ready: Callable[[], bool] | None = None
    stop_seconds: float = 15.0
    niceness: int = 0
    forked: bool = False

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return its environment. What is withheld is empty: if it were missing, the process would
        read it from `.env`.
        """
        return {**given, **self.env, **dict.fromkeys(self.without, "")}


class Launch(Protocol):
    """Starts a process, as `processes.spawn` does."""

    def __call__(
        self,
        command: Sequence[str],
        *,
        output: IO[bytes],
        folder: Path,
        env: Mapping[str, str],
        niceness: int,
    ) -> RunningProcess:
        """Start `command` with its output in a file."""


class ManagedProcess:
    """Start one process, start it again after a failure, and read its log."""

    longest_delay = LONGEST_DELAY

    def __init__(
        self,
        child: ProcessSpec,
        environ: Mapping[str, str],
        logs: Path,
        folder: Path,
        launch: Launch = processes.spawn,
        may_start: Callable[[], bool] = lambda: True,
    ) -> None:
        """Set what to run; nothing happens before `start`.

        launch: starts it. may_start: whether that can be called now; the next round asks again.
        """
        self.child = child
        self.log = logs / f"{child.name}.log"
        self.restarts = 0
        self.process: RunningProcess | None = None
        self.may_start = may_start
        self._launch = launch
        self._environ, self._folder = environ, folder
        self._ready_file = logs / f".{child.name}.ready"
        self._delay, self._started, self._due = FIRST_DELAY, 0.0, 0.0
        self._read_to = 0
        self._swept: set[int] = set()  # groups whose killed processes are not all removed

    @property
    def name(self) -> str:
        """The name of its spec."""
        return self.child.name

    @property
    def pid(self) -> int | None:
        """The process id; None if it does not run."""
        return self.process.pid if self.process is not None and self.alive else None

    @property
    def alive(self) -> bool:
        """Whether the process runs now."""
        return self.process is not None and self.process.poll() is None

    @property
    def ready(self) -> bool:
        """Whether the process runs and is ready for work."""
        if not self.alive:
            return False
        if self.child.ready is not None:
            return self.child.ready()
        if self.child.announces:
            return self._ready_file.exists()
        return time.monotonic() - self._started > LIVES_SECONDS

    def start(self) -> None:
        """Start the process. On Linux it ends with the thread that calls this, or if it is forked,
        with this process.
        """
        self._ready_file.unlink(missing_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_KEPT:
            self.log.replace(self.log.with_suffix(".log.1"))
        env = {**self.child.environment(self._environ), READY_FILE: str(self._ready_file)}
        with self.log.open("ab") as output:
            self._read_to = output.tell()
            self.process = self._launch(
                self.child.command,
                output=output,
                folder=self._folder,
                env=env,
                niceness=self.child.niceness,
            )
        self._started, self._due = time.monotonic(), 0.0

    def poll(self) -> str | None:
        """Start a process that ended again after its delay. Return a message for the operator."""
        self._swept = {group for group in self._swept if orphans.reap_group(group)}
        if self.process is None or self.alive:
            return None
        now = time.monotonic()
        if not self._due:
            self.sweep()
            if now - self._started > HEALTHY_SECONDS:
                self._delay = FIRST_DELAY
            self._due, delay = now + self._delay, self._delay
            self._delay = min(self._delay * 2, self.longest_delay)
            return f"{self.exit_description()}; restarting in {delay:g} s (log: {self.log})"
        if now >= self._due and self.may_start():
            self.restarts += 1
            self.start()
        return None

    def exit_description(self) -> str:
        """Describe how the process ended, for the operator."""
        code = self.process.returncode if self.process else None
        return (
            f"killed by signal {-code}" if code is not None and code < 0 else f"ended with {code}"
        )

    def sweep(self) -> None:
        """Kill the child processes that an ended process left running."""
        if self.process is not None and not self.alive:
            processes.signal_group(self.process.pid, processes.KILL)
            self._swept.add(self.process.pid)  # they have not ended yet

    def errors(self) -> Iterator[str]:
        """Yield the error lines that its log got since the last call."""
        if not self._has_more():
            return
        with self.log.open("rb") as log:
            log.seek(self._read_to)
            lines = _whole_lines(log)
            self._read_to = log.tell()
        found = [line for line in lines if _ERROR.search(line)]
        yield from found[:MAX_LINES_AT_ONCE]
        if len(found) > MAX_LINES_AT_ONCE:
            yield f"… and {len(found) - MAX_LINES_AT_ONCE} more lines like these in {self.log}"

    def _has_more(self) -> bool:
        """Whether the log is longer than what was read: asked in each round of the supervisor."""
        try:
            return self.log.stat().st_size > self._read_to
        except FileNotFoundError:
            return False


def _whole_lines(log: IO[bytes]) -> list[str]:
    """Read the complete lines; the file position ends after the last of them."""
    begin = log.tell()
    text = log.read(1_000_000)
    whole = text[: text.rfind(b"\n") + 1] if len(text) < 1_000_000 else text
    log.seek(begin + len(whole))
    return _COLOUR.sub("", whole.decode(errors="replace")).splitlines()
