"""Processes that end with their starter, identified even if their number is used again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import IO

from ops.embedded.os_user import ServerUser

KILL = signal.SIGKILL
HAS_PROC = Path("/proc/self/stat").exists()
LAUNCHER = Path(__file__).with_name("_launch.py")


def spawn(
    command: Sequence[str],
    *,
    output: IO[bytes],
    folder: Path,
    env: Mapping[str, str] | None = None,
    identity: ServerUser | None = None,
    at_death: signal.Signals = signal.SIGTERM,
    stdin: bytes | None = None,
    niceness: int = 0,
    inherit: Collection[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `command` in its own session, so that Ctrl-C does not reach it.

    On Linux it gets the signal `at_death` when the *thread* that called this ends: call it from a
    thread that runs as long as the process should. stdin: written to the process, then closed.
    niceness: 0 to 19, how much it gives way to other processes. inherit: open file descriptors that
    it gets under the same numbers.
    """
    uid, gid = (identity.uid, identity.gid) if identity and identity.dropped else (-1, -1)
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER)]
    numbers = [str(number) for number in (os.getpid(), int(at_death), uid, gid, niceness)]
    process = subprocess.Popen(
        [*launcher, *numbers, "--", *command],
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=dict(env) if env is not None else None,
        start_new_session=True,
        pass_fds=inherit,
    )
    if process.stdin and stdin is not None:
        process.stdin.write(stdin)
        process.stdin.close()
    return process


def birth(pid: int) -> str | None:
    """Return a value that differs once the number `pid` belongs to another process.

    None: there is no such process, or it has ended and was not waited for yet.
    """
    if HAS_PROC:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]  # field 22: start in ticks since boot
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return found or None


def is_same(pid: int, born: str | None) -> bool:
    """Return whether `pid` is still the process that `birth` identified."""
    return born is not None and birth(pid) == born


def works_in(folder: Path) -> list[int]:
    """Return the processes whose working folder is `folder` (Linux; elsewhere none)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").samefile(folder) and birth(int(entry.name)):
                found.append(int(entry.name))
        except OSError:  # no permission, or the process has just ended
            continue
    return found


def wait_until(condition: Callable[[], bool], seconds: float, *, every: float = 0.02) -> bool:
    """Wait for `condition`; return False if it did not become true within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process started by `spawn` and to all that it started."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):  # macOS raises the latter for an ended group
        pass


def end(process: subprocess.Popen[bytes], number: signal.Signals, seconds: float) -> bool:
    """Send a signal to a process and wait until it ends; kill its group after `seconds`.

    Return False if it had to be killed.
    """
    if process.poll() is None:
        process.send_signal(number)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        signal_group(process.pid, signal.SIGKILL)
        process.wait()
        return False
    return True
