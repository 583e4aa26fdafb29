"""`make chaos`: a seed determines the faults, and a short run ends with all counters at 0."""

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.faults.chaos.fault_injection import FaultInjector
from tests.faults.chaos.fault_plan import LASTS, LEAST, MOST, PROCESSES, WEIGHTS, by_kind, plan
from tests.faults.servers import ROOT

SMOKE = {"--seconds": "20", "--seed": "1"}


def test_same_seed_gives_same_fault_sequence() -> None:
    assert plan(7, 600) == plan(7, 600)
    assert plan(7, 600) != plan(8, 600)
    assert plan(7, 600)[:20] == plan(7, 60)[:20]


def test_a_fault_occurs_every_one_to_three_seconds() -> None:
    steps = plan(1, 600)
    gaps = [b.at - a.at for a, b in pairwise(steps)]
    assert all(LEAST <= gap <= MOST for gap in gaps)
    assert 200 <= len(steps) <= 600


def test_long_run_injects_every_fault() -> None:
    steps = plan(1, 3_600)
    assert by_kind(steps).keys() == WEIGHTS.keys()
    assert {step.who for step in steps if step.kind == "kill"} == set(PROCESSES)
    assert all(6 <= step.burst <= 8 for step in steps if step.burst)


def test_every_fault_can_be_injected() -> None:
    assert LASTS.keys() <= WEIGHTS.keys()
    assert all(hasattr(FaultInjector, "_" + kind.replace("-", "_")) for kind in WEIGHTS)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_short_chaos_run_ends_with_all_counters_zero() -> None:
    line = [sys.executable, "-m", "tests.faults.chaos"]
    line += [part for pair in SMOKE.items() for part in pair]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    result = json.loads(done.stdout.splitlines()[-1])
    assert {name: n for name, n in result["counters"].items() if n} == {}, done.stderr
    assert (done.returncode, result["ok"]) == (0, True)
    assert result["faults"] >= 5
    assert result["in_flight_max"] >= 3_000
    assert result["accepted"] > 3_000


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_ctrl_c_leaves_nothing_behind() -> None:
    line = [sys.executable, "-m", "tests.faults.chaos", "--seed", "424242"]
    with subprocess.Popen(
        line, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as chaos:
        assert chaos.stderr is not None
        for progress in chaos.stderr:
            if "in flight" in progress:  # it runs, and the first fault is injected
                break
        os.killpg(chaos.pid, signal.SIGINT)
        rest = chaos.stderr.read()
    assert chaos.returncode == 130, rest
    assert not list((ROOT / "var" / "chaos").glob("seed-424242-*"))
    files = [*Path("/proc").glob("[0-9]*/cmdline"), *Path("/proc").glob("[0-9]*/environ")]
    assert [path for path in files if b"seed-424242-" in _read(path)] == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
