"""Gives birth to terminals: one process that forks them, since starting Python takes longer than
most tests. `python -m tests.fakes.dwx.process_forker` reads lines `FOLDER<tab>PLACE` and answers
each with a process id. It ends with its input, and its children with it.
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
    born: set[int] = set()

    def bury(*_: object) -> None:
        """Forget the dead: their numbers are given to others, who must not be ended for them."""
        with suppress(ChildProcessError):
            while dead := os.waitpid(-1, os.WNOHANG)[0]:
                born.discard(dead)

    signal.signal(signal.SIGCHLD, bury)
    while line := sys.stdin.readline():
        folder, place = line.rstrip("\n").split("\t")
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(0, 1)
            expert_advisor.run(Path(folder), Path(place))
        born.add(child)
        print(child, flush=True)
    for one in tuple(born):
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


if __name__ == "__main__":
    main()
