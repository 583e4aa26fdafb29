"""A test that goes on waiting after its timeout ends its process, with a report."""

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("text", [HANGS_IN_THE_TEST, HANGS_AFTER_A_FAILURE, HANGS_AT_THE_END])
def test_a_test_that_hangs_ends_its_process_and_shows_where(tmp_path: Path, text: str) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_hanging.py").write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntimeout = 1\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:django", "-p", "no:cacheprovider", "."]
    run = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert "Timeout (0:00:03)!" in run.stderr
    assert "test_hanging.py" in run.stderr or "threading.py" in run.stderr
