"""The double's process, as a test or a bench starts, plays and kills it."""

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
SECONDS = 60


class ControlLine:
    """Plays the broker at a double that runs somewhere."""

    def __init__(self, port: int) -> None:
        self._line = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._line.sendall(GREETING)
        self._words = self._line.makefile("rb")

    def do(self, name: str, *args: Any) -> dict[str, Any]:
        """Have the broker do something; returns what it tells."""
        self._line.sendall(orjson.dumps({"do": name, "args": args}, default=str) + b"\n")
        told: dict[str, Any] = orjson.loads(self._words.readline())
        return told or {}

    def close(self) -> None:
        self._words.close()
        self._line.close()


class TwsProcess:
    """A double that outlives whoever talks to it, and with its journal also itself."""

    def __init__(self, journal: Path, accounts: str = "DU1234567", gateways: int = 1) -> None:
        self._journal, self._accounts = journal, accounts
        self.ports = [0] * gateways
        self.start()

    @property
    def port(self) -> int:
        """The first gateway's."""
        return self.ports[0]

    def start(self) -> None:
        """Begin, or go on where the journal ends, on the same ports."""
        ports = ",".join(map(str, self.ports))
        command = [
            sys.executable, "-m", "tests.fakes.tws", "--port", ports,
            "--journal", str(self._journal), "--accounts", self._accounts,
        ]  # fmt: skip
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.ports = [int(port) for port in self._process.stdout.readline().split()]
        self._control = ControlLine(self.port)
        self.do = self._control.do

    def kill(self) -> None:
        """End it without a word (-9)."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._ended()

    def close(self) -> None:
        """End it in peace."""
        self._process.terminate()
        self._ended()

    def _ended(self) -> None:
        self._process.wait(SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._control.close()

    def state(self) -> dict[str, Any]:
        return self.do("state")

    def until(self, is_so: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait for a condition on its state."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if is_so(state := self.state()):
                return state
            time.sleep(0.005)
        raise AssertionError(f"did not come to pass: {self.state()}")
