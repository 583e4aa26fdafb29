"""Keeps processes running: restarts those that end, and stops them all without leftovers."""

import contextlib
import math
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

from ops.embedded import orphans, processes
from ops.stack.exit_watch import ExitWatch, can_watch
from ops.stack.fork_server import ForkServer, can_fork
from ops.stack.process import ManagedProcess, ProcessSpec

POLL_SECONDS = 0.2  # between two rounds while a process waits for its start
QUIET_SECONDS = 1.0  # while all of them run; the end of one begins a round at once
JOIN_SECONDS = 1.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextlib.contextmanager
def handled_by(handle: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Within: SIGTERM, SIGHUP and Ctrl-C call `handle`, even if they were ignored before.

    A script lets the commands that it starts in the background ignore Ctrl-C.
    """
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        for number in STOP_SIGNALS:
            signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Fatal(Exception):
    """A server that everything needs has stopped; the text names it."""


class Supervisor:
    """Run processes until they are stopped, and restart those that end.

    Its own thread starts and watches them: the kernel ends a process when the thread that started
    it ends, so no process outlives its supervisor. Forked processes end with the whole process.
    """

    def __init__(
        self,
        children: Sequence[ProcessSpec],
        *,
        environ: Mapping[str, str],
        logs: Path,
        folder: Path,
        report: Callable[[str], None],
        fork_server: ProcessSpec | None = None,
        check: Callable[[], None] = lambda: None,
        servers: Callable[[], Collection[int]] = tuple,
        on_start: Callable[[ManagedProcess], None] = lambda _: None,
    ) -> None:
        """Set what to run; nothing happens before `start`.

        report: gets the messages for the operator. fork_server: from which those processes are
        forked whose spec says so; without it, or where that is impossible, they are started like
        the others. check: called in each round, of which there is one a second, and one when a
        process ends; if it raises Fatal, everything stops. servers: the ids of living processes
        whose end begins a round, too.
        on_start: called with each process after each start.
        """
        logs.mkdir(parents=True, exist_ok=True)
        logs.chmod(0o700)  # other users of this machine must not read the logs
        self._make = partial(ManagedProcess, environ=environ, logs=logs, folder=folder)
        self._fork_server: ForkServer | None = None
        self.children: dict[str, ManagedProcess] = {}
        if fork_server and can_fork() and any(child.forked for child in children):
            self._fork_server = ForkServer(fork_server, environ, logs, folder)
            self.children[fork_server.name] = self._fork_server
        self.children |= {child.name: self._managed(child) for child in children}
        self.failure: str | None = None
        self._report, self._check, self._on_start = report, check, on_start
        self._servers = servers
        # No events: a signal handler that sets one waits for its lock, for ever if the thread that
        # it interrupts holds it.
        self._stopping = self._at_once = False
        self._watch = ExitWatch()
        self._thread: threading.Thread | None = None

    @property
    def restarts(self) -> int:
        """How many restarts there were, of all processes."""
        return sum(running.restarts for running in self.children.values())

    def start(self) -> None:
        """Start all processes; return at once. A signal until then requests a stop."""
        with self.signals_handled():  # a thread that is only half started could not be joined
            self._thread = threading.Thread(target=self._run, name="supervisor")
            self._thread.start()

    def add(self, child: ProcessSpec) -> None:
        """Run one more process beside the others; return at once."""
        # A new dict, since the supervisor's thread walks through the old one. It starts the process
        # on its next round.
        self.children = {**self.children, child.name: self._managed(child)}
        self._watch.wake()

    def wait_ready(self, seconds: float = 60) -> bool:
        """Wait until every process is ready; False after `seconds`, or if all were stopped."""
        return (
            processes.wait_until(lambda: self._stopping or not self.unready(), seconds)
            and not self._stopping
        )

    def unready(self) -> list[str]:
        """Return the names of processes that are not ready. A fork server that cannot serve is not
        among them: the others are then started in the ordinary way."""
        server = self._fork_server
        missing = [name for name, running in self.children.items() if not running.ready]
        if server is not None and server.name in missing and server.is_settled():
            missing.remove(server.name)
        return missing

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until a stop is requested, or for `seconds`; return whether one was."""
        most = math.inf if seconds is None else seconds
        return processes.wait_until(lambda: self._stopping, most, every=POLL_SECONDS)

    def request_stop(self) -> None:
        """Let the processes finish; a second call kills them. Safe in a signal handler."""
        if self._stopping:
            self._at_once = True
        self._set_stopping()

    def stop(self) -> None:
        """Stop all processes and wait until they have ended. May be called twice."""
        self._set_stopping()
        if self._thread is not None:
            self._thread.join()

    def run_forever(self) -> int:
        """Wait for SIGTERM, Ctrl-C or a failure, then stop. Return the exit code."""
        assert self._thread is not None, "start it first"
        with self.signals_handled():
            while self._thread.is_alive():
                # Not for ever: a signal that reaches another thread interrupts no join.
                self._thread.join(JOIN_SECONDS)
        if self.failure:
            self._report(self.failure)
        return 1 if self.failure else 0

    @contextlib.contextmanager
    def signals_handled(self) -> Iterator[None]:
        """Within: SIGTERM, SIGHUP and Ctrl-C request a stop; the second one kills the processes."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            self.request_stop()

        with handled_by(handle):
            yield

    def _managed(self, child: ProcessSpec) -> ManagedProcess:
        if self._fork_server is None or not child.forked:
            return self._make(child)
        server = self._fork_server
        return self._make(child, launch=server.spawn, may_start=server.is_settled)

    def _run(self) -> None:
        with contextlib.ExitStack() as at_the_end:
            at_the_end.enter_context(self._watch)
            if self._fork_server is not None:
                at_the_end.enter_context(orphans.adopted())
            at_the_end.callback(self._end_all)
            at_the_end.callback(self._set_stopping)
            at_the_end.push(self._record_failure)  # first: `wait` returns once `_stopping` is set
            for running in self.children.values():
                self._start_process(running)
            while self._wait_for_round():
                self._check()
                for running in self.children.values():
                    self._poll(running)

    def _wait_for_round(self) -> bool:
        """Wait until the next round is due; False if a stop is requested instead.

        A process that is to be started soon needs it earlier.
        """
        pids = [running.pid for running in self.children.values()]
        alive = [pid for pid in pids if pid is not None]
        all_run = can_watch() and len(alive) == len(pids)
        seconds = QUIET_SECONDS if all_run else POLL_SECONDS
        self._watch.wait([*alive, *self._servers()], seconds)
        return not self._stopping

    def _set_stopping(self) -> None:
        self._stopping = True
        self._watch.wake()

    def _record_failure(self, _type: object, error: BaseException | None, _trace: object) -> bool:
        """Keep why the supervisor ends, for the operator; return whether that was intended."""
        if isinstance(error, Fatal):
            self.failure = str(error)
        elif error is not None:
            self.failure = f"The supervisor itself failed: {error!r}"
        return isinstance(error, Fatal)

    def _start_process(self, running: ManagedProcess) -> None:
        if running.may_start():
            running.start()
            self._on_start(running)

    def _poll(self, running: ManagedProcess) -> None:
        if running.process is None:  # added since, or waits for the fork server
            self._start_process(running)
            return
        for line in running.errors():
            self._report(f"{running.name} | {line}")
        before = running.restarts
        if message := running.poll():
            self._report(f"{running.name} {message}")
        if running.restarts != before:
            self._on_start(running)

    def _end_all(self) -> None:
        """Terminate all processes together, then kill those left and their child processes."""
        alive = [running for running in self.children.values() if running.alive]
        for running in alive:
            if running.process is not None:
                running.process.terminate()
        longest = max((running.child.stop_seconds for running in alive), default=0)
        processes.wait_until(
            lambda: self._at_once or not any(running.alive for running in alive), longest
        )
        for running in self.children.values():
            if running.process is not None:
                if running.alive:
                    self._report(f"{running.name} did not stop in time and is killed")
                processes.signal_group(running.process.pid, signal.SIGKILL)
                running.process.wait()
                orphans.reap_group(running.process.pid)
