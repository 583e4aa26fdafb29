"""The test's side of the fake terminal: starts its process, sets its faults, reads its journal."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent / "package"
ROOT = Path(__file__).parents[3]


STOP_SECONDS = 10.0
_starting = threading.Lock()


@cache
def _forking() -> subprocess.Popen[str]:
    """The process that forks terminals, one for all of a test run's."""
    command = [sys.executable, "-m", "tests.fakes.mt5.server"]
    found = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(found.communicate)
    return found


def _started(port: int) -> tuple[int, int]:
    """Start a terminal's process; return its number and its port. Any thread may ask."""
    with _starting:
        forking = _forking()
        assert forking.stdin is not None
        assert forking.stdout is not None
        forking.stdin.write(f"{port}\n")
        forking.stdin.flush()
        process, port = map(int, forking.stdout.readline().split())
        return process, port


class FakeTerminal:
    """One terminal process. Its accounts: 1001 hedging, 1002 netting, 1003 hedging."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self, port: int = 0) -> None:
        self._process, self.port = _started(port)
        self._line = socket.create_connection(("127.0.0.1", self.port)).makefile("rwb")

    def restart(self) -> None:
        """Its process ends, and another one has its books and its port."""
        kept = self.hand("dump")
        self.stop()
        self._begin(self.port)
        self.hand("load", kept=kept)

    def stop(self) -> None:
        self._line.close()
        os.kill(self._process, signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        with suppress(ProcessLookupError):
            while time.monotonic() < end:
                os.kill(self._process, 0)
                time.sleep(0.001)
            raise TimeoutError(f"process {self._process} has not ended")

    @contextmanager
    def installed(self) -> Iterator[None]:
        """While it lasts, the package and this terminal are what a child of ours finds."""
        before, os.environ["FAKE_MT5"] = os.environ.get("FAKE_MT5"), str(self.port)
        sys.path.insert(0, str(PACKAGE))
        try:
            yield
        finally:
            sys.path.remove(str(PACKAGE))
            del os.environ["FAKE_MT5"]
            if before is not None:
                os.environ["FAKE_MT5"] = before

    def environment(self) -> dict[str, str]:
        """For a client process of its own."""
        paths = os.pathsep.join([str(PACKAGE), str(ROOT)])
        return {**os.environ, "FAKE_MT5": str(self.port), "PYTHONPATH": paths}

    def hand(self, what: str, /, **words: Any) -> Any:
        self._line.write(json.dumps([f"set.{what}", [], words]).encode() + b"\n")
        self._line.flush()
        return json.loads(self._line.readline())

    def world(self, **values: Any) -> None:
        self.hand("world", **values)

    def books(self, login: int = 1001, **values: Any) -> None:
        self.hand("books", login=login, **values)

    def symbol(self, name: str, **values: Any) -> None:
        self.hand("symbol", name=name, **values)

    def quote(self, name: str, bid: float, ask: float) -> None:
        self.hand("quote", name=name, bid=bid, ask=ask)

    def fault(self, call: str, do: str, **words: Any) -> None:
        """accepts: the call is done first; times, skip: how often, and after how many calls.

        do: retcode, none, drop, die, hold, empty, half, odd, switch, offline, silent (never
        answered), late (after `seconds`), print (`words`), freeze (the client's interpreter, for
        `words` seconds).
        """
        self.hand("fault_add", call=call, do=do, **words)

    def show(self, login: int = 1001) -> Any:
        return self.hand("show", login=login)

    def accepted(self, login: int = 1001) -> list[str]:
        """The journal: comments of the orders that the server took, in its order."""
        return [r["comment"] for r in self.show(login)["accepted"] if r["action"] in (1, 5)]
