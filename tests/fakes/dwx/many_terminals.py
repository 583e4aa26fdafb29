"""Many terminals in one process, for benchmarks:
`python -m tests.fakes.dwx.many_terminals ROOT STATE_FOLDER N`.

Terminal n has the folder t<n> under ROOT and its broker's state in t<n> under STATE_FOLDER. The
process prints "ready" when all have written their files, and ends with its input.
"""

import sys
import threading
import time
from pathlib import Path

from tests.fakes.dwx.expert_advisor import TIMER, ExpertAdvisor
from tests.fakes.dwx.terminal import Terminal


def terminal(root: Path, state_folder: Path, number: int) -> Terminal:
    """Return the control of one terminal. It starts no process."""
    return Terminal(root, state_folder / f"t{number}", f"t{number}")


def main() -> None:
    root, state_folder, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    names = [f"t{number}" for number in range(count)]
    for number in range(count):
        terminal(root, state_folder, number)
    advisors = [ExpertAdvisor(root / name, state_folder / name) for name in names]
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    is_ready = False
    while not over.is_set():
        for advisor in advisors:
            advisor.tick()
        if not is_ready:
            print("ready", flush=True)
            is_ready = True
        time.sleep(TIMER)


if __name__ == "__main__":
    main()
