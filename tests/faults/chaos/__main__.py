"""`python -m tests.faults.chaos [--seconds 600] [--seed N]`: progress on stderr, JSON on stdout."""

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

from ops.stack.supervisor import handled_by
from tests.faults.chaos.fault_injection import FaultInjector
from tests.faults.chaos.fault_plan import Step, plan
from tests.faults.chaos.load import Load
from tests.faults.chaos.outages import Outages
from tests.faults.chaos.recovery_times import RecoveryMonitor
from tests.faults.chaos.stack_environment import StackEnvironment, folder_for, forget, keep_logs
from tests.faults.chaos.verdict import Verdict, judge

BURST_LEAST, BURST_WAIT = 3_000, 3.0  # orders in flight that a fault in a burst waits for, seconds


def report_progress(text: str) -> None:
    """Print a line for people."""
    print(text, file=sys.stderr, flush=True)


class Run:
    """One run: inject faults for some seconds, then undo them, wait and count."""

    def __init__(
        self, environment: StackEnvironment, seed: int, seconds: float, *, is_busy: bool = False
    ) -> None:
        """is_busy: other programs use the processors; more time is given to settle."""
        self._steps, self._seconds, self._is_busy = plan(seed, seconds), seconds, is_busy
        self._injector = FaultInjector(environment)
        self._recovery = RecoveryMonitor(environment.servers.ours)
        self._load = Load(environment, seed, report_progress)
        self._environment = environment
        self._began = time.monotonic()

    def execute(self) -> Verdict:
        """Run all steps and return the verdict."""
        self._began, since = time.monotonic(), time.time()
        self._load.start()
        for step in self._steps:
            self._wait_until(step.at)
            self._inject(step)
        self._wait_until(self._seconds)
        self._load.stop()
        self._injector.heal()
        broken = Outages(self._injector.spans, since, time.time())
        report_progress(f"{self._clock()} end of faults; everything is restored")
        return judge(
            self._environment, self._recovery, self._load, broken,
            hurried=bool(self._environment.without), is_busy=self._is_busy,
        )  # fmt: skip

    def _clock(self) -> str:
        return f"{time.monotonic() - self._began:7.1f} s"

    def _wait_until(self, at: float) -> None:
        polled_at = 0.0
        while (now := time.monotonic()) < self._began + at:
            self._injector.undo_due()
            if now - polled_at > 0.5:
                polled_at = now
                self._recovery.poll()
            time.sleep(0.05)

    def _inject(self, step: Step) -> None:
        if step.burst:
            self._load.burst(step.burst)
            end = time.monotonic() + BURST_WAIT
            while len(self._recovery.poll() or ()) < BURST_LEAST and time.monotonic() < end:
                self._injector.undo_due()
                time.sleep(0.02)
        fault = self._recovery.record(step)
        if self._injector.make(step):
            known = "?" if fault.in_flight is None else f"{fault.in_flight:,}"
            report_progress(f"{self._clock()} {step}; {known} in flight")
        else:
            self._recovery.drop(fault)
            report_progress(f"{self._clock()} {step}: it is down already")


@contextmanager
def other_programs(many: int) -> Iterator[None]:
    """Keep `many` processors busy, from the first fault until everything is counted."""
    line = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(line) for _ in range(many)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run(seed: int, seconds: float, without: str = "", busy: int = 0) -> dict[str, Any]:
    """Run and return the result; the folder is kept if a counter is not 0."""
    folder = folder_for(seed)
    report_progress(f"chaos: seed {seed}, {seconds:g} s, in {folder}")
    try:
        with (
            StackEnvironment(folder, report_progress, without) as environment,
            other_programs(busy),
        ):
            verdict = Run(environment, seed, seconds, is_busy=busy > 0).execute()
        result = verdict.as_json(seed, seconds)
    except KeyboardInterrupt:
        forget(folder)
        raise
    except BaseException:
        keep_logs(folder)
        report_progress(f"the run failed; the logs are in {folder}")
        raise
    if result["ok"]:
        forget(folder)
        return result
    keep_logs(folder)
    return {**result, "logs": str(folder)}


def main() -> int:
    """Run with the options of the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="make chaos",
        description="Load with a random fault every 1-3 seconds, then counters that must be 0.",
    )
    parser.add_argument(
        "--seconds", type=float, default=600, help="how long faults are injected (600)"
    )
    parser.add_argument("--seed", type=int, help="the same seed is the same sequence of faults")
    parser.add_argument(
        "--without",
        default="",
        choices=["comeback", "deadline", "fence", "second_proof", "reservation", "unknown"],
        help="remove this guard from the workers, to prove that a counter notices",
    )
    parser.add_argument(
        "--busy", type=int, default=0, metavar="N", help="keep N processors busy meanwhile (0)"
    )
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else secrets.randbelow(1_000_000)
    try:
        with handled_by(signal.default_int_handler):
            result = run(seed, options.seconds, options.without, options.busy)
    except KeyboardInterrupt:
        report_progress("stopped; nothing is left running")
        return 130
    print(json.dumps(result), flush=True)
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
