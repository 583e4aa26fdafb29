"""The supervisor's side of the fork server: start it, and have processes forked from it.

A fork shares the memory of everything imported, and starts without importing it. docs/adr/0051.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from common.process.readiness import VARIABLE as READY_FILE
from ops.embedded import orphans, processes
from ops.stack.fork_program import START, Request
from ops.stack.forked_process import ForkedProcess, RunningProcess
from ops.stack.process import ManagedProcess, ProcessSpec

ANSWER_SECONDS = 10.0  # a fork takes hundredths of one
# A process waits so long for a server that is still importing; then it is started without it. That
# would take as long: both import the same.
PATIENCE_SECONDS = 45.0
PADDING = "." * 500


def can_fork() -> bool:
    """Return whether this system has what the fork server needs: Linux with /proc."""
    return processes.HAS_PROC and orphans.can_adopt()


class _NotForkedError(Exception):
    """The server took a request, and no process came of it."""


class ForkServer(ManagedProcess):
    """The process from which the others are forked. They go on without it if it ends.

    For the thread that supervises the processes.
    """

    longest_delay = 300.0  # each start imports everything, and the others do not need it

    def __init__(
        self, child: ProcessSpec, environ: Mapping[str, str], logs: Path, folder: Path
    ) -> None:
        """Set its command; nothing happens before `start`."""
        super().__init__(child, environ, logs, folder, launch=self._launch_server)
        self._requests: socket.socket | None = None
        self._env: Mapping[str, str] = {}
        self._waited_since = 0.0

    def is_settled(self) -> bool:
        """Whether a process need not wait: the server is ready, or is not going to be soon."""
        if self.ready:
            self._waited_since = 0.0
            return True
        now = time.monotonic()
        self._waited_since = self._waited_since or now
        has_failed = self.process is not None and (self.process.poll() or 0) > 0
        return has_failed or now - self._waited_since > PATIENCE_SECONDS

    def spawn(
        self,
        command: Sequence[str],
        *,
        output: IO[bytes],
        folder: Path,
        env: Mapping[str, str],
        niceness: int = 0,
    ) -> RunningProcess:
        """Fork a process that runs `command`; start it in the ordinary way if that is impossible.

        The code that is imported has read the server's settings, so a process with others is not
        forked. Only the file of its readiness may differ.
        """
        if self.ready and _settings(env) == _settings(self._env):
            differs = {READY_FILE: env.get(READY_FILE, "")}
            request = Request(command, str(folder), differs, niceness)
            try:
                return self._fork(request, output)
            except _NotForkedError:
                pass  # it had no memory for that, or has just ended: then it is started again
            except OSError as error:  # it hangs
                self._kill(error)
        return processes.spawn(command, output=output, folder=folder, env=env, niceness=niceness)

    def _launch_server(
        self,
        command: Sequence[str],
        *,
        output: IO[bytes],
        folder: Path,
        env: Mapping[str, str],
        niceness: int,
    ) -> RunningProcess:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(ANSWER_SECONDS)
        with its:
            if self._requests is not None:
                self._requests.close()
            self._requests, self._env, self._waited_since = ours, env, 0.0
            numbers = (str(its.fileno()), str(os.getpid()))
            return processes.spawn(
                (*command, *numbers, PADDING),
                output=output,
                folder=folder,
                env=env,
                niceness=niceness,
                at_death=processes.KILL,  # also if it was stopped
                inherit=[its.fileno()],
            )

    def _fork(self, request: Request, output: IO[bytes]) -> ForkedProcess:
        """Let the server fork. Raises OSError if it hangs, _NotForkedError if no process came."""
        ours, its = socket.socketpair()
        with ours:
            ours.settimeout(ANSWER_SECONDS)
            with its:
                assert self._requests is not None
                socket.send_fds(self._requests, [request.encode()], [its.fileno(), output.fileno()])
            answer = ours.recv(32)  # from the fork: this process is its parent now
            if not answer:
                raise _NotForkedError
            process = ForkedProcess(int(answer))
            with contextlib.suppress(OSError):  # it was killed at once, as its exit code will show
                ours.sendall(START)
            return process

    def _kill(self, error: OSError) -> None:
        """End a server that does not answer, so that another one is started."""
        if self.process is not None:
            with self.log.open("a") as log:  # as an error: the operator reads it
                log.write(f"[error    ] the server does not answer and is killed: {error}\n")
            self.process.kill()


def _settings(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name != READY_FILE}
