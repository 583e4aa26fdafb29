"""Stop the whole process for two seconds in each test, as a busy machine does: `make test-paused`.

A test that depends on the machine's speed fails then. Where it stops is drawn for each test from
its name and SEED, so that the same seed stops at the same statements: before the first one, or at
one of the first hundred that the test sends to PostgreSQL. The servers run on.
"""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Generator
from typing import Any

import psycopg
import pytest

SECONDS = 2.2
STOPPER = """
import os, signal, sys, time
parent = os.getppid()
signal.signal(signal.SIGINT, signal.SIG_IGN)
while sys.stdin.buffer.raw.read(1):
    os.kill(parent, signal.SIGSTOP)
    time.sleep(float(sys.argv[1]))
    os.kill(parent, signal.SIGCONT)
    os.write(1, b".")
"""


class PausesPlugin:
    """Stops each test once."""

    def __init__(self, seed: str, seconds: float = SECONDS) -> None:
        self._seed = seed
        self._left = -1  # statements until the stop; -1: none
        self._stopper = subprocess.Popen(
            [sys.executable, "-S", "-c", STOPPER, str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def pytest_configure(self) -> None:
        """Count the statements of the tests."""
        for kind in (psycopg.Cursor, psycopg.ServerCursor):  # the second for `iterator()`
            self._count(kind)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        """Run the test, with its stop."""
        drawn = random.Random(f"{self._seed} {item.nodeid}")
        self._left = 0 if drawn.random() < 0.25 else int(100 ** drawn.random())
        if not self._left:
            self.stop()
        try:
            return (yield)
        finally:
            self._left = -1

    def stop(self) -> None:
        """Let this process stand still."""
        assert self._stopper.stdin
        assert self._stopper.stdout
        self._left = -1
        self._stopper.stdin.write(b".")
        self._stopper.stdin.flush()
        os.read(self._stopper.stdout.fileno(), 1)

    def pytest_unconfigure(self) -> None:
        """End the process that stops this one."""
        self._stopper.communicate()

    def _count(self, kind: Any) -> None:
        execute = kind.execute

        def counted(cursor: Any, *given: Any, **named: Any) -> Any:
            if self._left > 0 and threading.current_thread() is threading.main_thread():
                self._left -= 1
                if not self._left:
                    self.stop()
            return execute(cursor, *given, **named)

        kind.execute = counted
