"""The fake TWS's process: tests and benchmarks start, control and kill it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from tests.fakes.tws.control import GREETING

ROOT = Path(__file__).parents[3]
TIMEOUT_SECONDS = 60


class ControlConnection:
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
        self._socket.sendall(GREETING)
        self._answers = self._socket.makefile("rb")

    def do(self, name: str, *args: Any) -> dict[str, Any]:
        """Call a method of the venue or of `Control`; return its result."""
        self._socket.sendall(orjson.dumps({"do": name, "args": args}, default=str) + b"\n")
        result: dict[str, Any] = orjson.loads(self._answers.readline())
        return result or {}

    def close(self) -> None:
        self._answers.close()
        self._socket.close()


class TwsProcess:
    """A fake TWS that survives its clients and, with its journal, its own kill."""

    def __init__(self, journal: Path, accounts: str = "DU1234567", gateways: int = 1) -> None:
        self._journal, self._accounts = journal, accounts
        self.ports = [0] * gateways
        self.start()

    @property
    def port(self) -> int:
        """The port of the first gateway."""
        return self.ports[0]

    def start(self) -> None:
        """Start, or continue where the journal ends, on the same ports."""
        ports = ",".join(map(str, self.ports))
        command = [
            sys.executable, "-m", "tests.fakes.tws", "--port", ports,
            "--journal", str(self._journal), "--accounts", self._accounts,
        ]  # fmt: skip
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.ports = [int(port) for port in self._process.stdout.readline().split()]
        self._control = ControlConnection(self.port)
        self.do = self._control.do

    def kill(self) -> None:
        """Kill it (-9)."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._wait_for_end()

    def close(self) -> None:
        self._process.terminate()
        self._wait_for_end()

    def _wait_for_end(self) -> None:
        self._process.wait(TIMEOUT_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._control.close()

    def state(self) -> dict[str, Any]:
        return self.do("state")

    def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait for a condition on its state."""
        end = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < end:
            if condition(state := self.state()):
                return state
            time.sleep(0.005)
        raise AssertionError(f"not in time: {self.state()}")
