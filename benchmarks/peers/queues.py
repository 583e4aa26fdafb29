"""The queues that are compared: how their workers are started, what they keep, how they are set."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.peers import packages
from benchmarks.peers.settings import LOOK_SECONDS, MAINTENANCE_IN_A_MILLION, QUEUE, STALLED_SECONDS
from config.installation import ROOT

WORKERS = 2  # as many as Fillcast has for entries


@dataclass(frozen=True, slots=True)
class QueuePeer:
    """A task queue. commands: of its workers, together `WORKERS` processes that execute tasks.

    durable: what survives when its server is killed. configured: for tasks that must not be lost.
    """

    name: str
    package: str
    environment: str  # of `packages`; empty: the product's own
    commands: tuple[tuple[str, ...], ...]
    durable: str
    configured: str

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


IN_REDIS = "messages in Redis' memory; order rows in PostgreSQL"
QUEUE_PEERS: Sequence[QueuePeer] = (
    QueuePeer(
        "celery", "celery", "", tuple(_celery(number) for number in range(WORKERS)), IN_REDIS,
        f"acks_late, reject_on_worker_lost, prefetch 1, visibility_timeout {STALLED_SECONDS} s"
        f" (default 1 h), looked for each {LOOK_SECONDS} s (default 100 s)",
    ),
    QueuePeer(
        "dramatiq", "dramatiq", packages.QUEUES,
        (("dramatiq", "benchmarks.peers.dramatiq_app", "--processes", str(WORKERS),
          "--threads", "1", "--queues", QUEUE),),
        IN_REDIS,
        f"late acknowledgement (default), heartbeat_timeout {STALLED_SECONDS} s (default 60),"
        f" maintenance at {MAINTENANCE_IN_A_MILLION / 10_000:g} % of commands (default 0.1)",
    ),
    QueuePeer(
        "procrastinate", "procrastinate", packages.QUEUES,
        (("procrastinate", "--app", "benchmarks.peers.procrastinate_app.app", "worker",
          "--queues", QUEUE, "--concurrency", "1"),) * WORKERS,
        "jobs and order rows in PostgreSQL, with fsync",
        f"stalled jobs retried after {STALLED_SECONDS} s, looked for each {LOOK_SECONDS} s (in its"
        " documentation: 30 s, each 10 min)",
    ),
)  # fmt: skip
