"""The points themselves: where they stand, how they are armed, and where they must not be."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common import failpoints
from common.failpoints import POINTS, Failpoint, FailpointError, failpoint
from config.env import Settings
from config.env_variables import InvalidEnvironmentError
from tests.config.test_env import PRODUCTION

ROOT = Path(__file__).resolve().parents[2]
OF_OTHERS = ("test_chaos.py", "test_restore.py", "test_failpoints.py")  # have pages of their own
ROOMS = ("brokers", "connections", "events", "execution", "positions", "prices", "signals")


@pytest.fixture
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm([])


def test_every_point_stands_in_the_code_and_in_the_table() -> None:
    found = {
        name
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        for name in re.findall(r'\bfailpoint\("([^"]+)"\)', path.read_text())
    }
    assert found == set(POINTS)


def test_the_page_names_every_point_and_every_case() -> None:
    page = (ROOT / "docs/faults.md").read_text()
    cases = {
        name
        for path in sorted(Path(__file__).parent.glob("test_*.py"))
        if "mark.faults" in path.read_text() and path.name not in OF_OTHERS
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert {name for name in [*POINTS, *cases] if f"`{name}`" not in page} == set()


def test_what_is_not_armed_does_nothing(disarmed: None) -> None:
    failpoints.arm([Failpoint("enqueue.done", "raise")])
    failpoint("enqueue.bundle")
    failpoints.arm([])
    failpoint("enqueue.done")


def test_an_armed_point_acts_at_its_nth_hit_only(disarmed: None) -> None:
    failpoints.arm([Failpoint.read("enqueue.done:raise:2")])
    failpoint("enqueue.done")
    with pytest.raises(FailpointError, match=r"enqueue\.done"):
        failpoint("enqueue.done")
    failpoint("enqueue.done")


@pytest.mark.parametrize("text", ["", "enqueue.done", "enqueue.done:die", "nowhere:kill", "a:b:c:d",
                                  "enqueue.done:kill:0", "enqueue.done:kill:x"])  # fmt: skip
def test_what_names_no_point_or_deed_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Failpoint.read(text)


@pytest.mark.parametrize(("deed", "code"), [("kill", -9), ("exit", 1)])
def test_the_process_whose_environment_says_so_ends_there(deed: str, code: int) -> None:
    program = (
        "import django; django.setup(); "
        "from common.failpoints import failpoint; failpoint('enqueue.done')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            "FILLCAST_FAILPOINTS": f"enqueue.done:{deed}",
            "FILLCAST_ENV_FILE": "/dev/null",
            "DJANGO_SETTINGS_MODULE": "config.settings",
        },
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == code
    assert b"enqueue.done" in done.stderr


STOPS, STILL_SECONDS = 20, 0.05
STANDS_STILL = f"""
import threading, time
from common import failpoints
from common.failpoints import Failpoint, failpoint

def walk():
    for _ in range({STOPS}):
        failpoints.arm([Failpoint("enqueue.done", "stop")])
        steps, began = 0, time.monotonic()
        failpoint("enqueue.done")
        while time.monotonic() - began < {STILL_SECONDS}:
            steps += 1
        print(steps, flush=True)

walking = threading.Thread(target=walk)
walking.start()
while walking.is_alive():
    time.sleep(0.001)  # a process has other threads, and they have work
"""


def test_a_thread_that_stops_its_process_takes_no_step_more() -> None:
    """A signal to the process stops it when one of its other threads gets to it, up to
    milliseconds later: this one would stand still anywhere."""
    with subprocess.Popen(
        [sys.executable, "-c", STANDS_STILL], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        try:
            for _ in range(STOPS):
                _, status = os.waitpid(process.pid, os.WUNTRACED)
                assert os.WIFSTOPPED(status)
                time.sleep(2 * STILL_SECONDS)  # so long it stands still
                process.send_signal(signal.SIGCONT)
            said, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert said.split() == [b"0"] * STOPS


def test_production_does_not_start_with_an_armed_point() -> None:
    with pytest.raises(InvalidEnvironmentError, match="FILLCAST_FAILPOINTS is set"):
        Settings.read({**PRODUCTION, "FILLCAST_FAILPOINTS": "enqueue.done:kill"})
