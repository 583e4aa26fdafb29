"""A process that forks terminals, since starting Python takes longer than most tests.

`python -m tests.fakes.dwx.process_forker` reads lines `FOLDER<tab>STATE_FOLDER` and answers each
with a process id. When its input ends, it ends itself and its children.
"""

import os
import select
import signal
from contextlib import suppress
from pathlib import Path

from tests.fakes.dwx import (
    expert_advisor,
    mt5_expert_advisor,  # noqa: F401  # imported once for all children
)

INPUT, OUTPUT = 0, 1


class ProcessForker:
    """Forks terminals on request, and reaps those that have ended.

    It waits for requests and for ends at the same time: Python runs a signal's handler only between
    two of its instructions, so an end that is reported just before a blocking read of the input
    would be noticed after the next request only. Until then the ended process would look alive.
    """

    def __init__(self) -> None:
        self._running: set[int] = set()
        self._ended, write = os.pipe()
        os.set_blocking(self._ended, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # with a handler, the signal is written

    def run(self) -> None:
        """Answer requests until the input ends, then end the children."""
        buffer = b""
        while True:
            ready, _, _ = select.select([INPUT, self._ended], [], [])
            if self._ended in ready:
                os.read(self._ended, 4096)
                self._reap()
            if INPUT in ready:
                received = os.read(INPUT, 65536)
                if not received:
                    break
                *lines, buffer = (buffer + received).split(b"\n")
                for line in lines:
                    self._start(line.decode())
        for process in self._running:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _reap(self) -> None:
        """Forget the ids of ended processes: the system may give them to others."""
        with suppress(ChildProcessError):
            while ended := os.waitpid(-1, os.WNOHANG)[0]:
                self._running.discard(ended)

    def _start(self, request: str) -> None:
        folder, state_folder = request.split("\t")
        child = os.fork()
        if child == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDWR), INPUT)
            os.dup2(INPUT, OUTPUT)
            expert_advisor.run(Path(folder), Path(state_folder))
        self._running.add(child)
        os.write(OUTPUT, f"{child}\n".encode())


if __name__ == "__main__":
    ProcessForker().run()
