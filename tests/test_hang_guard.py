"""A test that goes on waiting after its timeout ends its process, with a report."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[1]
CONFTEST = """
from tests.hang_guard import HangGuardPlugin

def pytest_configure(config):
    config.pluginmanager.register(HangGuardPlugin(grace=1))
"""
HANGS_IN_THE_TEST = """
import threading

def test_waits():
    try:
        threading.Event().wait()
    finally:
        threading.Event().wait()
"""
HANGS_AFTER_A_FAILURE = """
import threading
import pytest

@pytest.fixture
def server():
    yield
    try:
        threading.Event().wait()
    finally:
        threading.Event().wait()

def test_fails(server):
    assert False
"""
HANGS_AT_THE_END = """
import atexit
import threading
from tests import hang_guard

hang_guard.END_SECONDS = 3
atexit.register(threading.Event().wait)

def test_passes():
    pass
"""
LEAVES_A_THREAD = """
import threading
from tests import hang_guard

hang_guard.END_SECONDS = 3

def test_passes():
    threading.Thread(target=threading.Event().wait).start()
"""
LAST_TEST_OF_ONE_PROCESS = """
import time
import pytest
from tests import hang_guard

hang_guard.END_SECONDS = 10  # also for the end of a process on a slow machine

@pytest.mark.parametrize("seconds", [0, 22])
@pytest.mark.timeout(60)
def test_takes(seconds):
    time.sleep(seconds)
"""


def run_tests(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_hanging.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\ntimeout = 1\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:django", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, *options, "."],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize(
    "text", [HANGS_IN_THE_TEST, HANGS_AFTER_A_FAILURE, HANGS_AT_THE_END, LEAVES_A_THREAD]
)
def test_a_test_that_hangs_ends_its_process_and_shows_where(tmp_path: Path, text: str) -> None:
    run = run_tests(tmp_path, text)
    assert run.returncode == 1
    assert "Timeout (0:00:03)!" in run.stderr
    assert "test_hanging.py" in run.stderr or "threading.py" in run.stderr


def test_process_without_tests_waits_for_the_other(tmp_path: Path) -> None:
    run = run_tests(tmp_path, LAST_TEST_OF_ONE_PROCESS, "-n", "2")
    assert (run.returncode, run.stderr) == (0, ""), run.stderr
    assert "2 passed" in run.stdout
