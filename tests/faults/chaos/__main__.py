"""`python -m tests.faults.chaos [--seconds 600] [--seed N]`: words to stderr, a line to stdout."""

import argparse
import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.faults.chaos.fault_injection import FaultInjector
from tests.faults.chaos.fault_plan import Step, plan
from tests.faults.chaos.load import Load
from tests.faults.chaos.outages import Outages
from tests.faults.chaos.recovery_times import RecoveryMonitor
from tests.faults.chaos.stack_environment import StackEnvironment, folder_for, forget, keep_logs
from tests.faults.chaos.verdict import Verdict, judge

BURST_LEAST, BURST_WAIT = 3_000, 3.0  # orders in flight that a fault in a burst waits for, seconds


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Run:
    """One run: break things for so many seconds, then heal, wait and count."""

    def __init__(
        self, stage: StackEnvironment, seed: int, seconds: float, *, is_busy: bool = False
    ) -> None:
        """is_busy: other programs use the processors; more time is given to settle."""
        self._steps, self._seconds, self._is_busy = plan(seed, seconds), seconds, is_busy
        self._trouble, self._watching = FaultInjector(stage), RecoveryMonitor(stage.servers.ours)
        self._load = Load(stage, seed, say)
        self._stage = stage
        self._began = time.monotonic()

    def through(self) -> Verdict:
        """Go through all of it."""
        self._began, since = time.monotonic(), time.time()
        self._load.start()
        for step in self._steps:
            self._wait_until(step.at)
            self._strike(step)
        self._wait_until(self._seconds)
        self._load.stop()
        self._trouble.heal()
        broken = Outages(self._trouble.spans, since, time.time())
        say(f"{self._clock()} quiet; everything that was broken is mended")
        return judge(
            self._stage, self._watching, self._load, broken,
            hurried=bool(self._stage.without), is_busy=self._is_busy,
        )  # fmt: skip

    def _clock(self) -> str:
        return f"{time.monotonic() - self._began:7.1f} s"

    def _wait_until(self, at: float) -> None:
        looked = 0.0
        while (now := time.monotonic()) < self._began + at:
            self._trouble.undo_due()
            if now - looked > 0.5:
                looked = now
                self._watching.look()
            time.sleep(0.05)

    def _strike(self, step: Step) -> None:
        if step.burst:
            self._load.burst(step.burst)
            end = time.monotonic() + BURST_WAIT
            while len(self._watching.look() or ()) < BURST_LEAST and time.monotonic() < end:
                self._trouble.undo_due()
                time.sleep(0.02)
        seen = self._watching.note(step)
        if self._trouble.make(step):
            known = "?" if seen.in_flight is None else f"{seen.in_flight:,}"
            say(f"{self._clock()} {step}; {known} in flight")
        else:
            self._watching.drop(seen)
            say(f"{self._clock()} {step}: it is down already")


@contextmanager
def other_programs(many: int) -> Iterator[None]:
    """Keep so many processors busy, from the first fault until everything is counted."""
    line = [sys.executable, "-c", "while True: pass"]
    hogs = [subprocess.Popen(line) for _ in range(many)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def run(seed: int, seconds: float, without: str = "", busy: int = 0) -> dict[str, Any]:
    """Run and return what is printed; the folder stays when something is not 0."""
    folder = folder_for(seed)
    say(f"chaos: seed {seed}, {seconds:g} s, in {folder}")
    try:
        with StackEnvironment(folder, say, without) as stage, other_programs(busy):
            verdict = Run(stage, seed, seconds, is_busy=busy > 0).through()
        told = verdict.as_json(seed, seconds)
    except KeyboardInterrupt:
        forget(folder)
        raise
    except BaseException:
        keep_logs(folder)
        say(f"the run failed; the logs are in {folder}")
        raise
    if told["ok"]:
        forget(folder)
        return told
    keep_logs(folder)
    return {**told, "logs": str(folder)}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make chaos",
        description="Load, a random fault every 1-3 seconds, then quiet, then what must be 0.",
    )
    parser.add_argument("--seconds", type=float, default=600, help="how long things break (600)")
    parser.add_argument("--seed", type=int, help="the same seed is the same sequence of faults")
    parser.add_argument(
        "--without",
        default="",
        choices=["comeback", "deadline", "fence", "second_proof", "reservation", "unknown"],
        help="take this guard away from the workers, to see that a counter notices",
    )
    parser.add_argument(
        "--busy", type=int, default=0, metavar="N", help="keep N processors busy beside it (0)"
    )
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seed = asked.seed if asked.seed is not None else secrets.randbelow(1_000_000)
    try:
        told = run(seed, asked.seconds, asked.without, asked.busy)
    except KeyboardInterrupt:
        say("stopped; nothing is left running")
        return 130
    print(json.dumps(told), flush=True)
    return 0 if told["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
