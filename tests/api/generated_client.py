"""A Python client that is generated from the schema a running process serves."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
Modules = Callable[[str], Any]


def generate(url: str, folder: Path) -> tuple[Path, str]:
    """Generate the package in a folder, as docs/api-client.md says. url: where the process answers.

    Returns the folder of the package, and what the generator printed.
    """
    address = f"{url}/api/v1/schema/?format=json"
    done = subprocess.run(
        [BIN / "openapi-python-client", "generate", "--url", address],
        cwd=folder, env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "fillcast-client", done.stdout + done.stderr


@contextmanager
def imported(package: Path) -> Iterator[Modules]:
    """Return a function that imports a module of a generated package; forget them at the end."""
    sys.path.insert(0, str(package))
    try:
        yield lambda name: importlib.import_module(f"fillcast_client{name}")
    finally:
        sys.path.remove(str(package))
        for name in [name for name in sys.modules if name.startswith("fillcast_client")]:
            del sys.modules[name]
