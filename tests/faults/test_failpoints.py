"""The failpoints: their places in the code, how they are armed, and where they must not be."""

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
FOLDERS = (
    "alerts",
    "brokers",
    "buses",
    "common",
    "connections",
    "events",
    "execution",
    "positions",
    "prices",
    "signals",
)


@pytest.fixture
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm([])


def test_every_failpoint_is_in_code_and_table() -> None:
    found = {
        name
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r'\bfailpoint\("([^"]+)"\)', path.read_text())
    }
    assert found == set(POINTS)


def test_faults_page_names_every_file_of_cases() -> None:
    page = (ROOT / "docs/faults.md").read_text()
    files = {
        path.name
        for path in Path(__file__).parent.glob("test_*.py")
        if "mark.faults" in path.read_text() and path.name not in OF_OTHERS
    }
    assert {name for name in files if f"`{name}`" not in page} == set()


def test_unarmed_failpoint_does_nothing(disarmed: None) -> None:
    failpoints.arm([Failpoint("enqueue.done", "raise")])
    failpoint("enqueue.bundle")
    failpoints.arm([])
    failpoint("enqueue.done")


def test_armed_failpoint_acts_only_at_its_nth_hit(disarmed: None) -> None:
    failpoints.arm([Failpoint.read("enqueue.done:raise:2")])
    failpoint("enqueue.done")
    with pytest.raises(FailpointError, match=r"enqueue\.done"):
        failpoint("enqueue.done")
    failpoint("enqueue.done")


@pytest.mark.parametrize("text", ["", "enqueue.done", "enqueue.done:die", "nowhere:kill", "a:b:c:d",
                                  "enqueue.done:kill:0", "enqueue.done:kill:x"])  # fmt: skip
def test_unknown_failpoint_or_action_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Failpoint.read(text)


@pytest.mark.parametrize(
    ("action", "code"), [("kill", -9), pytest.param("exit", 1, marks=pytest.mark.processes)]
)
def test_process_exits_at_failpoint_from_environment(action: str, code: int) -> None:
    program = (
        "import django; django.setup(); "
        "from common.failpoints import failpoint; failpoint('enqueue.done')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            "FILLCAST_REHEARSAL": f"failpoints=enqueue.done:{action}",
            "FILLCAST_ENV_FILE": "/dev/null",
            "DJANGO_SETTINGS_MODULE": "config.settings",
        },
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == code
    assert b"enqueue.done" in done.stderr


STILL_SECONDS = 0.05
STANDS_STILL = f"""
import sys, threading, time
from common import failpoints
from common.failpoints import Failpoint, failpoint

def walk():
    for _ in range(int(sys.argv[1])):
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


@pytest.mark.parametrize("stops", [6, pytest.param(40, marks=pytest.mark.processes)])
def test_thread_that_stops_its_process_does_not_continue(stops: int) -> None:
    """A signal to the process may stop it milliseconds later, when another thread handles it.

    The stopping thread must not run on meanwhile.
    """
    with subprocess.Popen(
        [sys.executable, "-c", STANDS_STILL, str(stops)], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        try:
            for _ in range(stops):
                _, status = os.waitpid(process.pid, os.WUNTRACED)
                assert os.WIFSTOPPED(status)
                time.sleep(2 * STILL_SECONDS)  # how long it is stopped
                process.send_signal(signal.SIGCONT)
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert output.split() == [b"0"] * stops


def test_production_does_not_start_with_armed_failpoint() -> None:
    with pytest.raises(InvalidEnvironmentError, match="FILLCAST_REHEARSAL is set"):
        Settings.read({**PRODUCTION, "FILLCAST_REHEARSAL": "failpoints=enqueue.done:kill"})
