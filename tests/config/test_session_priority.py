"""A process that gives way gives its database sessions the same niceness."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.session_priority import SAME_MACHINE

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
NICENESS = 7
SCRIPT = """
import os, pathlib
import django
django.setup()
from django.db import connection
connection.ensure_connection()
pid = connection.connection.info.backend_pid
group = pathlib.Path(f"/proc/{pid}/autogroup")
print(os.getpriority(os.PRIO_PROCESS, pid), group.read_text().split()[-1] if group.exists() else "")
"""


def niceness_of_session(*, niceness: int, is_local: bool) -> list[str]:
    """Return the niceness of a session, and of its group where there are groups."""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    if is_local:
        env[SAME_MACHINE] = "1"
    done = subprocess.run(
        ["nice", "-n", str(niceness), sys.executable, "-c", SCRIPT],
        cwd=ROOT, env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()[-1].split()


def test_sessions_have_the_niceness_of_their_process() -> None:
    assert set(niceness_of_session(niceness=0, is_local=True)) == {"0"}
    assert set(niceness_of_session(niceness=NICENESS, is_local=True)) == {str(NICENESS)}
    assert set(niceness_of_session(niceness=NICENESS, is_local=False)) == {"0"}
