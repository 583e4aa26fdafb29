"""The queues that are compared: how their workers are started, what they keep, how they are set."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.peers import packages
from benchmarks.peers.settings import QUEUE
from config.installation import ROOT

WORKERS = 2  # as many as Fillcast has for entries


@dataclass(frozen=True, slots=True)
class QueuePeer:
    """A task queue. commands: of its workers, together `WORKERS` processes that execute tasks."""

    name: str
    package: str
    environment: str  # of `packages`; empty: the product's own
    commands: tuple[tuple[str, ...], ...]

    @property
    def module(self) -> str:
        """Its application; it has `publish`."""
        return f"benchmarks.peers.{self.name}_app"

    def python(self) -> str:
        """Return its interpreter. Raises SkippedError."""
        return packages.python_of(self.environment) if self.environment else packages.OWN_PYTHON

    def command(self, environ: Mapping[str, str], *arguments: str) -> None:
        """Run a command of its own, to its end."""
        app = f"{self.module}.app"
        subprocess.run(
            [self.python(), "-m", self.package, "--app", app, *arguments],
            cwd=ROOT, env=dict(environ), check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip


def _celery(number: int) -> tuple[str, ...]:
    return (
        "celery", "-A", "benchmarks.peers.celery_app", "worker", "-P", "solo", "-Q", QUEUE,
        "-n", f"peer-{number}@%h", "--without-gossip", "--without-mingle", "--without-heartbeat",
        "-l", "WARNING",
    )  # fmt: skip


QUEUE_PEERS: Sequence[QueuePeer] = (
    QueuePeer("celery", "celery", "", tuple(_celery(number) for number in range(WORKERS))),
    QueuePeer(
        "dramatiq", "dramatiq", packages.QUEUES,
        (("dramatiq", "benchmarks.peers.dramatiq_app", "--processes", str(WORKERS),
          "--threads", "1", "--queues", QUEUE),),
    ),
    QueuePeer(
        "procrastinate", "procrastinate", packages.QUEUES,
        (("procrastinate", "--app", "benchmarks.peers.procrastinate_app.app", "worker",
          "--queues", QUEUE, "--concurrency", "1"),) * WORKERS,
    ),
)  # fmt: skip
