"""The broker's process: `tests/fakes/paper_server`, with its books in a cluster of their own."""

import signal
from typing import Any

from tests.fakes.paper_server.sync_client import SyncClient
from tests.faults.process_fleet import Process, wait_until
from tests.faults.servers import Servers
from tests.ports import free_port


class Broker:
    """Kept over the cases of a run, and restarted on the same port after it has ended."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.port = free_port()
        self.process: Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.alive

    def start(self, *, faults: str = "") -> Process:
        """Start it, or return the running one. faults: failpoints of a new process."""
        if self.process is not None and self.process.alive:
            if not faults:
                return self.process
            self.kill()
        environ = {
            **self._servers.environ(),
            "DATABASE_URL": self._servers.books.url,
            "FILLCAST_REHEARSAL": f"failpoints={faults}",
        }
        line = ("-m", "tests.fakes.paper_server", "--faults", "--port", str(self.port))
        log = self._servers.folder / "broker.log"
        process = self.process = Process.python("broker", line, environ, log)
        wait_until(lambda: "listens on" in process.output(), 60, process.output)
        return process

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.signal(number)

    def ask(self, name: str, *arguments: Any) -> Any:
        """Call an operation (`brokers/paper/exchange.py`)."""
        client = SyncClient("127.0.0.1", self.port)
        try:
            return client.call(name, *arguments)
        finally:
            client.close()

    def fault(self, name: str, *numbers: float) -> None:
        """Cause a fault of the whole server (`tests/fakes/paper_server/faults.py`)."""
        client = SyncClient("127.0.0.1", self.port)
        try:
            client.fault(name, *numbers)
        finally:
            client.close()
