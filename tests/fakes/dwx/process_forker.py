"""A process that forks terminals, since starting Python takes longer than most tests.

`python -m tests.fakes.dwx.process_forker` reads lines `FOLDER<tab>STATE_FOLDER` and answers each
with a process id. When its input ends, it ends itself and its children.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from tests.fakes.dwx import (
    expert_advisor,
    mt5_expert_advisor,  # noqa: F401  # imported once for all children
)


def main() -> None:
    running: set[int] = set()

    def remove_ended(*_: object) -> None:
        """Forget the ids of ended processes: the system may give them to others."""
        with suppress(ChildProcessError):
            while ended := os.waitpid(-1, os.WNOHANG)[0]:
                running.discard(ended)

    signal.signal(signal.SIGCHLD, remove_ended)
    while line := sys.stdin.readline():
        folder, state_folder = line.rstrip("\n").split("\t")
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(0, 1)
            expert_advisor.run(Path(folder), Path(state_folder))
        running.add(child)
        print(child, flush=True)
    for process in tuple(running):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    main()
