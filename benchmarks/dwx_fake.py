"""An expert advisor of the tests' that notes how long it took:
`python -m benchmarks.dwx_fake FOLDER PLACE`.

It says "ready" when it has written; each line on its input is answered with when it found which
command, and how long until its files told what came of it, by the machine's monotonic clock.
"""

import json
import sys
import threading
import time
from pathlib import Path

from tests.fakes.dwx.expert_advisor import ExpertAdvisor
from tests.fakes.dwx.mt5_expert_advisor import advisor_of

TIMER = 0.001  # the test's is 4 ms, a real one's 25: that wait would be counted as ours


def main() -> None:
    advisor: ExpertAdvisor = advisor_of(Path(sys.argv[1]), Path(sys.argv[2]))
    asked, over = threading.Event(), threading.Event()

    def listen() -> None:
        for _ in sys.stdin:
            asked.set()
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    advisor.tick()
    print("ready", flush=True)
    spent: list[tuple[float, float]] = []
    while not over.is_set():
        known, began = advisor.ids[-1:], time.perf_counter()
        advisor.tick()
        if advisor.ids[-1:] != known:
            spent.append((began, time.perf_counter() - began))
        if asked.is_set():
            asked.clear()
            print(json.dumps(spent), flush=True)
            spent.clear()
        time.sleep(TIMER)


if __name__ == "__main__":
    main()
