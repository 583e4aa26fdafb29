"""Search with other examples for as long as given: `make explore MINUTES=30`.

Runs the tests that draw examples, in random order and each with ten times the examples of `make
test-all`, again and again until the time is over or one fails. The seed is printed first; the same
seed searches the same way. What is found becomes a fixed case of the usual tests, with its mend.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
END_SECONDS = 120  # for the servers of a run that is stopped


def main() -> int:
    """Return 0 if nothing was found, 1 if a test failed."""
    parser = argparse.ArgumentParser(prog="make explore", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="of an earlier run, to repeat it")
    parser.add_argument("paths", nargs="*", default=["tests"], help="default: all tests")
    given = parser.parse_args()
    seed = given.seed or random.SystemRandom().randrange(1, 2**31)
    ends = time.monotonic() + 60 * given.minutes
    rounds = 0
    while (seconds := ends - time.monotonic()) > 0:
        print(f"round {rounds + 1}: SEED={seed + rounds}, {seconds / 60:.0f} min left", flush=True)
        if (status := _search(seed + rounds, seconds, given.paths)) is None:
            break
        if status != 0:
            print(f"Found with SEED={seed + rounds}. Make it a fixed case, with its mend.")
            return 1
        rounds += 1
    print(f"Nothing found in {given.minutes:g} minutes; {rounds} whole rounds from SEED={seed}.")
    return 0


def _search(seed: int, seconds: float, paths: list[str]) -> int | None:
    """Return the status of one round, None if its time was over before it ended."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "2", "-m", "hypothesis or draws"]
    process = subprocess.Popen(
        [*pytest, f"--hypothesis-seed={seed}", *paths],
        cwd=ROOT,
        env={**os.environ, "HYPOTHESIS_PROFILE": "explore", "TEST_ORDER_SEED": str(seed)},
        start_new_session=True,  # Ctrl-C reaches this process only, which passes it on once
    )
    try:
        return process.wait(seconds)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(process.pid, signal.SIGINT)
        process.wait(END_SECONDS)
        return None


if __name__ == "__main__":
    sys.exit(main())
