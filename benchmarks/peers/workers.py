"""The processes of a peer: its workers, and one that publishes."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

from benchmarks import process_usage
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.peers.queues import QueuePeer
from config.installation import ROOT
from ops.embedded import processes
from ops.stack.stack import NICENESS


class Publisher:
    """A process that publishes signals (`publisher.py`)."""

    def __init__(self, python: str, module: str, environ: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.peers.publisher", module], cwd=ROOT, env=environ,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._read()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def begin(self, signal_id: int, connection_ids: Sequence[UUID]) -> None:
        """Start to publish a signal to these accounts."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([signal_id, list(map(str, connection_ids))]) + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Wait until it is published. Raises BenchError if the process has failed."""
        self._read()

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=30)

    def _read(self) -> None:
        assert self._process.stdout
        if not self._process.stdout.readline():
            raise BenchError(f"the publisher ended with {self._process.wait(10)}")


@contextlib.contextmanager
def publisher(python: str, module: str, environ: dict[str, str]) -> Iterator[Publisher]:
    """Run a publisher meanwhile."""
    process = Publisher(python, module, environ)
    try:
        yield process
    finally:
        process.close()


def environ_of(environment: BenchEnvironment) -> dict[str, str]:
    """Return what the processes of peers are started with: the role of trading processes."""
    return {**os.environ, **environment.stack.environ, "FILLCAST_DB_ROLE": "trade"}


class Workers:
    """The workers of a queue. Use it in a `with` statement; leaving it kills them."""

    def __init__(self, environment: BenchEnvironment, peer: QueuePeer) -> None:
        """Raises SkippedError if its packages are missing."""
        self._environ, self._python, self._peer = environ_of(environment), peer.python(), peer
        self.name = peer.name
        self.log = Path(environment.stack.folder) / "log" / f"peer-{peer.name}.log"
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Workers":
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start all workers, as willing to give way as Fillcast's own."""
        with self.log.open("ab") as output:
            self._processes = [
                processes.spawn(
                    [self._python, "-m", *command], output=output, folder=ROOT, env=self._environ,
                    at_death=processes.KILL, niceness=NICENESS,
                )
                for command in self._peer.commands
            ]  # fmt: skip

    def kill(self) -> None:
        """kill -9 of all workers, with the processes that they have started."""
        for process in self._processes:
            processes.signal_group(process.pid, processes.KILL)
        for process in self._processes:
            process.wait(10)

    def restart(self) -> None:
        """kill -9 of all workers, and a new start at once."""
        self.kill()
        self.start()

    def check(self) -> None:
        """Raise BenchError if one has ended."""
        if any(process.poll() is not None for process in self._processes):
            raise BenchError(f"a worker of {self._peer.name} has ended; log: {self.log}")

    def pids(self) -> list[int]:
        """Return the ids of all their processes."""
        found, new = [], [process.pid for process in self._processes]
        while new:
            found += new
            new = [child for pid in new for child in process_usage.children_of(pid)]
        return found
