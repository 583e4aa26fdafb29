"""Gives birth to terminals: one process that forks them, since starting Python takes longer than
most tests. `python -m tests.doubles.dwx.nursery` reads lines `FOLDER<tab>PLACE` and answers each
with a process id. It ends with its input, and its children with it.
"""

import os
import signal
import sys
from pathlib import Path

from tests.doubles.dwx import ea, mt5  # noqa: F401 (once for all children)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead need no burial
    born = []
    while line := sys.stdin.readline():
        folder, place = line.rstrip("\n").split("\t")
        child = os.fork()
        if child == 0:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(0, 1)
            ea.play(Path(folder), Path(place))
        born.append(child)
        print(child, flush=True)
    for one in born:
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            pass


if __name__ == "__main__":
    main()
