"""The queues that are compared: where their packages are, how their workers are started."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environment import BenchError
from benchmarks.peers.settings import QUEUE
from config.installation import ROOT

WORKERS = 2  # as many as Fillcast has for entries
OWN_PYTHON = sys.executable
FOLDER = ROOT / "var" / "peers"  # where deploy/peers.sh installs packages, or states why not


class SkippedError(BenchError):
    """A queue cannot be measured here; the message states why."""


def python_of_peers(folder: Path = FOLDER) -> str:
    """Return the interpreter that has the queues' packages. Raises SkippedError."""
    python, failed = folder / "bin" / "python", folder.with_suffix(".failed")
    if (folder / ".installed").exists() and python.exists():
        return str(python)
    if failed.exists():
        raise SkippedError(f"not installed: {failed.read_text().strip()}")
    raise SkippedError("not installed: run `make peers`")


def expect_package(python: str, name: str) -> None:
    """Import a package. Raises SkippedError with the last line of its error."""
    done = subprocess.run(
        [python, "-c", f"import {name}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise SkippedError(f"cannot be imported: {lines[-1]}")


@dataclass(frozen=True, slots=True)
class QueuePeer:
    """A task queue; its module, its package and its application have the same name.

    commands: of its workers, together `WORKERS` processes that execute tasks.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    is_own_package: bool = False  # of the product

    @property
    def module(self) -> str:
        return f"benchmarks.peers.{self.name}_app"

    def python(self) -> str:
        return OWN_PYTHON if self.is_own_package else python_of_peers()

    def command(self, environ: Mapping[str, str], *arguments: str) -> None:
        subprocess.run(
            [self.python(), "-m", self.name, "--app", f"{self.module}.app", *arguments],
            cwd=ROOT, env=dict(environ), check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip


def _celery(number: int) -> tuple[str, ...]:
    return (
        "celery", "-A", "benchmarks.peers.celery_app", "worker", "-P", "solo", "-Q", QUEUE,
        "-n", f"peer-{number}@%h", "--without-gossip", "--without-mingle", "--without-heartbeat",
        "-l", "WARNING",
    )  # fmt: skip


DRAMATIQ = ("dramatiq", "benchmarks.peers.dramatiq_app", "--processes", str(WORKERS), "--threads",
            "1", "--queues", QUEUE)  # fmt: skip
PROCRASTINATE = ("procrastinate", "--app", "benchmarks.peers.procrastinate_app.app", "worker",
                 "--queues", QUEUE, "--concurrency", "1")  # fmt: skip
QUEUE_PEERS = (
    QueuePeer("celery", tuple(map(_celery, range(WORKERS))), is_own_package=True),
    QueuePeer("dramatiq", (DRAMATIQ,)),
    QueuePeer("procrastinate", (PROCRASTINATE,) * WORKERS),
)
