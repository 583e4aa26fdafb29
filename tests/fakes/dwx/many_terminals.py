"""Many terminals in one process, for benches: `python -m tests.fakes.dwx.many_terminals ROOT PLACE
N`.

Each has a folder t<n> under ROOT and its broker in t<n> under PLACE. It says "ready" when all have
written, and ends with its input.
"""

import sys
import threading
import time
from pathlib import Path

from tests.fakes.dwx.expert_advisor import TIMER, ExpertAdvisor
from tests.fakes.dwx.terminal import Terminal


def terminal(root: Path, place: Path, number: int) -> Terminal:
    """One of them, for whoever wants to make something happen at it; it is not started."""
    return Terminal(root, place / f"t{number}", f"t{number}")


def main() -> None:
    root, place, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    for number in range(count):
        terminal(root, place, number)
    advisors = [ExpertAdvisor(root / f"t{number}", place / f"t{number}") for number in range(count)]
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    said = False
    while not over.is_set():
        for advisor in advisors:
            advisor.tick()
        if not said:
            print("ready", flush=True)
            said = True
        time.sleep(TIMER)


if __name__ == "__main__":
    main()
