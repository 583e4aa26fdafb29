"""Where the peers' packages are installed (deploy/peers.sh), and why one cannot be measured."""

import subprocess
import sys
from pathlib import Path

from benchmarks.environment import BenchError
from config.installation import ROOT

FOLDER = ROOT / "var" / "peers"
QUEUES, FREQTRADE, NAUTILUS = "queues", "freqtrade", "nautilus"  # the environments
OWN_PYTHON = sys.executable
IMPORT_SECONDS = 120
VERSION = "from importlib.metadata import version; import {module}; print(version({name!r}))"


class SkippedError(BenchError):
    """A peer cannot be measured here; the message states why."""


def python_of(environment: str, folder: Path = FOLDER) -> str:
    """Return the interpreter of an environment. Raises SkippedError if it is not installed."""
    python = folder / environment / "bin" / "python"
    if (folder / environment / ".installed").exists() and python.exists():
        return str(python)
    failed = folder / f"{environment}.failed"
    if failed.exists():
        raise SkippedError(f"not installed: {failed.read_text().strip()}")
    raise SkippedError("not installed: run `make peers`")


def version_of(python: str, name: str) -> str:
    """Import a package and return its version. Raises SkippedError if that fails."""
    code = VERSION.format(module=name.replace("-", "_"), name=name)
    done = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise SkippedError(f"cannot be imported: {lines[-1]}")
    return done.stdout.strip()
