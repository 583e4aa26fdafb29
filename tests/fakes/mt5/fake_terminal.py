"""Control a fake terminal from a test: start its process, set its faults, read its journal."""

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
def _forker() -> subprocess.Popen[str]:
    """Start the process that forks the terminals, once in a test run."""
    command = [sys.executable, "-m", "tests.fakes.mt5.server"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(process.communicate)
    return process


def _start_process(port: int) -> tuple[int, int]:
    """Start a terminal's process. Return its id and its port. Any thread may call it."""
    with _starting:
        forker = _forker()
        assert forker.stdin is not None
        assert forker.stdout is not None
        forker.stdin.write(f"{port}\n")
        forker.stdin.flush()
        process, port = map(int, forker.stdout.readline().split())
        return process, port


class FakeTerminal:
    """One terminal process. Its accounts: 1001 hedging, 1002 netting, 1003 hedging."""

    def __init__(self) -> None:
        self._start()

    def _start(self, port: int = 0) -> None:
        self._process, self.port = _start_process(port)
        self._stream = socket.create_connection(("127.0.0.1", self.port)).makefile("rwb")

    def restart(self) -> None:
        """End its process; start another one with the same accounts and the same port."""
        state = self.control("dump")
        self.stop()
        self._start(self.port)
        self.control("load", state=state)

    def stop(self) -> None:
        """End its process. Raises TimeoutError."""
        self._stream.close()
        os.kill(self._process, signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        with suppress(ProcessLookupError):
            while time.monotonic() < end:
                os.kill(self._process, 0)
                time.sleep(0.001)
            raise TimeoutError(f"process {self._process} has not ended")

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let child processes import the fake package and connect to this terminal."""
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
        """Return the environment variables for a client in another process."""
        paths = os.pathsep.join([str(PACKAGE), str(ROOT)])
        return {**os.environ, "FAKE_MT5": str(self.port), "PYTHONPATH": paths}

    def control(self, action: str, /, **arguments: Any) -> Any:
        """Run one of the actions of `server.py` that only tests may run. Return its result."""
        self._stream.write(json.dumps([f"set.{action}", [], arguments]).encode() + b"\n")
        self._stream.flush()
        return json.loads(self._stream.readline())

    def configure(self, **values: Any) -> None:
        """Set attributes of the TerminalModel."""
        self.control("terminal", **values)

    def configure_account(self, login: int = 1001, **values: Any) -> None:
        """Set attributes of an AccountModel."""
        self.control("account", login=login, **values)

    def configure_symbol(self, name: str, **values: Any) -> None:
        """Change a symbol's properties."""
        self.control("symbol", name=name, **values)

    def quote(self, name: str, bid: float, ask: float) -> None:
        """Set a symbol's price and execute the orders and levels that it reaches."""
        self.control("quote", name=name, bid=bid, ask=ask)

    def fault(self, call: str, do: str, **options: Any) -> None:
        """Make the next calls of a function fail.

        do: retcode (`code`), none (no result; `code`), drop (close the connection), die (end the
        client's process), hold (until "release"), empty, half (an incomplete result), malformed,
        switch (another account: `login`), offline, silent (never answered), late (after
        `seconds`), print (`text`, to the client's output), freeze (the client's interpreter, for
        `seconds`).
        Options of all: accepts (the call is executed first), times (how often; 1), skip (after
        how many calls).
        """
        self.control("add_fault", call=call, do=do, **options)

    def state(self, login: int = 1001) -> Any:
        """Return an account's rows, the calls that arrived, and the seconds that they took."""
        return self.control("state", login=login)

    def accepted(self, login: int = 1001) -> list[str]:
        """Return the comments of the orders that the server accepted, in its order."""
        requests = self.state(login)["accepted"]
        return [one["comment"] for one in requests if one["action"] in (1, 5)]
