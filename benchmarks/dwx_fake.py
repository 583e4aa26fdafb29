"""The tests' fake expert advisor, timed: `python -m benchmarks.dwx_fake FOLDER BROKER_FOLDER`.

It prints "ready" when it has written its files. For each line of its input it prints when it read
each command and how long it took until its files had the result, in seconds of the machine's
monotonic clock.
"""

import json
import sys
import threading
import time
from pathlib import Path

from tests.fakes.dwx.expert_advisor import ExpertAdvisor
from tests.fakes.dwx.mt5_expert_advisor import advisor_of

TIMER = 0.001  # seconds; the tests use 4 ms, a real one 25 ms, which would be measured as ours


def main() -> None:
    """Run the expert advisor until the input ends."""
    advisor: ExpertAdvisor = advisor_of(Path(sys.argv[1]), Path(sys.argv[2]))
    requested, ended = threading.Event(), threading.Event()

    def listen() -> None:
        for _ in sys.stdin:
            requested.set()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    advisor.tick()
    print("ready", flush=True)
    spent: list[tuple[float, float]] = []
    while not ended.is_set():
        last_id, began = advisor.ids[-1:], time.perf_counter()
        advisor.tick()
        if advisor.ids[-1:] != last_id:
            spent.append((began, time.perf_counter() - began))
        if requested.is_set():
            requested.clear()
            print(json.dumps(spent), flush=True)
            spent.clear()
        time.sleep(TIMER)


if __name__ == "__main__":
    main()
