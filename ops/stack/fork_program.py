"""The program of the fork server: import everything once, then fork a process for each request.

    python -m ops.stack.fork_program MODULE:FUNCTION SOCKET SUPERVISOR PADDING

FUNCTION imports what the processes need, and returns what each of them calls before it runs its
command. SOCKET: the inherited descriptor with the requests (`fork_server.py`). SUPERVISOR: the
process that adopts each fork. PADDING: room in which a fork writes its own command line.

Each request is forked twice: the process in between ends at once, so the supervisor, which adopts
orphans, becomes the parent. What runs does not depend on this server any more.
"""

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.process.readiness import announce_ready
from ops.embedded._launch import end_with_parent, give_way

MOST_BYTES = 64_000  # of a request
ADOPTION_SECONDS = 10.0
START = b"start"  # the supervisor's answer to the process id of a fork


@dataclass(frozen=True, slots=True)
class Request:
    """What to run. env: variables that are added to the server's. at_death: as in `spawn`."""

    command: Sequence[str]
    folder: str
    env: Mapping[str, str]
    niceness: int = 0
    at_death: int = signal.SIGTERM

    def encode(self) -> bytes:
        """Return the message for the socket."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, message: bytes) -> "Request":
        """Read a message of the socket."""
        return cls(**json.loads(message))


def main(arguments: Sequence[str]) -> None:
    """Import, report that it is ready, and fork until the supervisor closes the socket."""
    where, descriptor, supervisor = arguments[0], int(arguments[1]), int(arguments[2])
    show_command([sys.executable, "-m", "ops.stack.fork_program", where])
    requests = socket.socket(fileno=descriptor)
    requests.set_inheritable(False)
    module, _, function = where.partition(":")
    begin: Callable[[], None] = getattr(importlib.import_module(module), function)()
    if obstacles := [*_obstacles(descriptor)]:
        sys.exit(f"After the imports nothing can be forked: {', '.join(obstacles)}.")
    gc.collect()
    gc.freeze()  # no collection in a fork touches, and so copies, what was imported
    announce_ready()
    if fork := _serve(requests, supervisor):
        fork.become()
        sys.argv = _argv(fork.request.command)
        begin()
        _run(fork.request.command)


@dataclass(frozen=True, slots=True)
class Fork:
    """The new process, on its way from the server to its command."""

    request: Request
    supervisor: int
    leash: socket.socket  # to the supervisor, until it knows this process
    output: int

    def become(self) -> None:
        """Get a session, parent, output, environment and niceness of its own. May end it."""
        os.setsid()
        self._wait_for_adoption()
        end_with_parent(self.supervisor, self.request.at_death)
        self._report()
        for standard in (sys.stdout.fileno(), sys.stderr.fileno()):
            os.dup2(self.output, standard)
        os.close(self.output)
        os.chdir(self.request.folder)
        os.environ.update(self.request.env)
        show_command(self.request.command)
        if self.request.niceness:
            give_way(self.request.niceness)

    def _wait_for_adoption(self) -> None:
        end = time.monotonic() + ADOPTION_SECONDS
        while os.getppid() != self.supervisor and time.monotonic() < end:
            time.sleep(0.001)

    def _report(self) -> None:
        """Report this process's id to the supervisor; end if that has started another one."""
        with self.leash:
            self.leash.sendall(str(os.getpid()).encode())
            if self.leash.recv(len(START)) != START:
                os._exit(1)


def _serve(requests: socket.socket, supervisor: int) -> Fork | None:
    """Fork for each request. Return in the forks only; None once the supervisor has gone."""
    while True:
        message, descriptors, *_ = socket.recv_fds(requests, MOST_BYTES, 2)
        if not message:
            return None
        leash, output = descriptors
        sys.stdout.flush()
        sys.stderr.flush()
        if _fork_twice():
            requests.close()
            request = Request.decode(message)
            return Fork(request, supervisor, socket.socket(fileno=leash), output)
        os.close(leash)  # the supervisor notices if there is no fork that holds it, either
        os.close(output)


def _fork_twice() -> bool:
    """Return True in a new process that is an orphan, False in this one."""
    try:
        between = os.fork()
    except OSError as error:
        print(f"cannot fork: {error}", file=sys.stderr, flush=True)
        return False
    if between:
        os.waitpid(between, 0)
        return False
    try:
        is_new = os.fork() == 0
    except OSError:
        os._exit(1)
    if not is_new:
        os._exit(0)
    return True


def _obstacles(descriptor: int) -> list[str]:
    """Return what a fork would share with the server or miss: connections, and other threads."""
    found = []
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        found.append(f"{threads} threads run")
    for number in sorted(map(int, os.listdir("/proc/self/fd"))):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # it was the one of this listing
            continue
        if number > 2 and number != descriptor and ":[" in target:  # no file
            found.append(f"{target} is open")
    return found


def show_command(command: Sequence[str]) -> None:
    """Show `command` as the command line of this process, in `ps` and /proc.

    It is written over the one that the process was started with, as far as there is room.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # fields 48 and 49 of proc(5)
    shown = Path("/proc/self/cmdline").read_bytes()
    if not shown or end - start != len(shown) or ctypes.string_at(start, len(shown)) != shown:
        return
    text = b"\0".join(map(os.fsencode, command))[: len(shown) - 1]
    ctypes.memmove(start, text.ljust(len(shown), b"\0"), len(shown))


def _argv(command: Sequence[str]) -> list[str]:
    """Return sys.argv for `python -m module …` and `python script …`."""
    return ["-m", *command[3:]] if command[1] == "-m" else [*command[1:]]


def _run(command: Sequence[str]) -> None:
    """Run what the interpreter would run for this command line."""
    names: dict[str, Any] = {"run_name": "__main__"}
    if command[1] == "-m":
        runpy.run_module(command[2], alter_sys=True, **names)
    else:
        runpy.run_path(command[1], **names)


if __name__ == "__main__":
    main(sys.argv[1:])
