"""The worker processes of a peer."""

import os
import subprocess
from pathlib import Path

from benchmarks import process_usage
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.peers.queues import QueuePeer
from config.installation import ROOT
from ops.embedded import processes
from ops.stack.stack import NICENESS


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
